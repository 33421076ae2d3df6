// A daemon that is made to die.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "client/cpp/client.h"
#include "grpcpp/channel.h"
#include "tests/support/process.h"

namespace wdelta::testing {

// One thread at a time; owns one that reads what the daemon writes, so that it never waits
// for that, and one that kills it and fails the test when it lives too long, so that nobody
// waits for it for ever. Killed by the destructor.
class Victim {
 public:
  // Starts a daemon over a data folder, and does not wait for it. `failpoint`, if it is not
  // empty, is the NAME:COUNT at which it kills itself (storage/base/failpoint.h).
  // After `max_life` it hangs.
  explicit Victim(const std::string& data_dir, const std::string& failpoint = "",
                  absl::Duration max_life = kMaxLife);
  ~Victim();
  Victim(const Victim&) = delete;
  Victim& operator=(const Victim&) = delete;

  // Waits until it serves; false when it ended before.
  bool AwaitServing();
  // A connection of its own.
  std::shared_ptr<grpc::Channel> NewChannel() const;

  void Kill();
  // It does nothing more, and does not end.
  void Hang();
  // SIGTERM. The exit code: 0, or 128 + SIGKILL if it had killed itself.
  int Stop();
  // What it has written, once it has ended.
  const std::string& output() const { return process_->output(); }

 private:
  // A life with its checks takes seconds, under sanitizers a minute.
  static constexpr absl::Duration kMaxLife = absl::Minutes(4);

  void KillWhenLate(absl::Duration max_life);
  void EndWatch();

  const std::string data_dir_;
  std::unique_ptr<ChildProcess> process_;
  std::string address_;
  std::thread reader_;
  absl::Notification has_ended_;
  std::thread watch_;
};

}  // namespace wdelta::testing
