// A daemon that is made to die.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "client/cpp/client.h"
#include "grpcpp/channel.h"
#include "tests/support/process.h"

namespace wdelta::testing {

// One thread at a time; owns one that reads what the daemon writes, so that it never waits
// for that. Killed by the destructor.
class Victim {
 public:
  // Starts a daemon over a data folder, and does not wait for it. `failpoint`, if it is not
  // empty, is the NAME:COUNT at which it kills itself (storage/base/failpoint.h).
  explicit Victim(const std::string& data_dir, const std::string& failpoint = "");
  ~Victim();
  Victim(const Victim&) = delete;
  Victim& operator=(const Victim&) = delete;

  // Waits until it serves; false when it ended before.
  bool AwaitServing();
  // A connection of its own.
  std::shared_ptr<grpc::Channel> NewChannel() const;

  void Kill();
  // SIGTERM. The exit code: 0, or 128 + SIGKILL if it had killed itself.
  int Stop();
  // What it has written, once it has ended.
  const std::string& output() const { return process_->output(); }

 private:
  const std::string data_dir_;
  std::unique_ptr<ChildProcess> process_;
  std::string address_;
  std::thread reader_;
};

}  // namespace wdelta::testing
