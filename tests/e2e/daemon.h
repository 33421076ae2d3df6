// The real daemon and the real command line, as children of a test.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "grpcpp/channel.h"
#include "tests/support/process.h"

namespace wdelta::testing {

// `wdeltad` with `--data_dir=FOLDER` and `flags`, to its end.
CommandResult RunDaemon(const std::string& folder, const std::vector<std::string>& flags = {});

// A daemon that serves from the constructor on, on a port of its own; killed by the
// destructor. One thread at a time.
class Daemon {
 public:
  explicit Daemon(const std::string& folder, const std::vector<std::string>& flags = {});

  ChildProcess& process() { return process_; }
  const std::string& address() const { return address_; }
  // A connection of its own.
  std::shared_ptr<grpc::Channel> NewChannel() const;

  // `wdelta` with this daemon as its server.
  CommandResult Wdelta(std::vector<std::string> arguments) const;
  // The same; fails the test unless it exits with 0.
  std::string WdeltaOk(const std::vector<std::string>& arguments) const;

  // SIGTERM; the exit code.
  int Stop();

 private:
  ChildProcess process_;
  std::string address_;
};

// Calls of grpc.health.v1.Health and of server reflection over a channel.

// `SERVING`, `NOT_SERVING`, or the code of the error.
std::string HealthOf(grpc::Channel& channel, const std::string& service);

// A stream of health, which the server sends at once and at each change.
class HealthWatch {
 public:
  explicit HealthWatch(std::shared_ptr<grpc::Channel> channel, const std::string& service = "");
  ~HealthWatch();
  // Blocks. As HealthOf; `END` when the stream is over.
  std::string Next();

 private:
  struct Call;
  std::unique_ptr<Call> call_;
};

// The bytes of the answer of reflection that lists all services.
absl::StatusOr<std::string> ListServices(grpc::Channel& channel);

}  // namespace wdelta::testing
