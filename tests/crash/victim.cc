#include "tests/crash/victim.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <fstream>
#include <vector>

#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"
#include "gtest/gtest.h"

namespace wdelta::testing {

Victim::Victim(const std::string& data_dir, const std::string& failpoint, absl::Duration max_life)
    : data_dir_(data_dir) {
  const std::vector<std::string> arguments = {
      WDELTAD_FILE,           "--data_dir=" + data_dir, "--address_file=" + data_dir + ".address",
      "--listen=127.0.0.1:0", "--memory_limit=256MiB",  "--codec_threads=2",
      "--gc_interval=off"};
  if (!failpoint.empty()) setenv("WDELTA_FAILPOINTS", failpoint.c_str(), 1);
  process_ = std::make_unique<ChildProcess>(arguments);
  unsetenv("WDELTA_FAILPOINTS");
  watch_ = std::thread([this, max_life] { KillWhenLate(max_life); });
}

Victim::~Victim() {
  Kill();
  if (reader_.joinable()) reader_.join();
  EndWatch();
}

// Its death ends every call and every wait for its output.
void Victim::KillWhenLate(absl::Duration max_life) {
  if (has_ended_.WaitForNotificationWithTimeout(max_life)) return;
  ADD_FAILURE() << "the daemon hangs: not at its end after " << max_life;
  Kill();
}

void Victim::EndWatch() {
  if (!watch_.joinable()) return;
  has_ended_.Notify();
  watch_.join();
}

bool Victim::AwaitServing() {
  if (!process_->ReadUntil(" serves ")) return false;
  std::getline(std::ifstream(data_dir_ + ".address"), address_);
  reader_ = std::thread([this] { process_->ReadUntil("no such line"); });
  return true;
}

std::shared_ptr<grpc::Channel> Victim::NewChannel() const {
  grpc::ChannelArguments arguments;
  // Otherwise channels to one address share a connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // A call on a connection whose end was missed does not wait for ever.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  return grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), arguments);
}

void Victim::Kill() { process_->Signal(SIGKILL); }

void Victim::Hang() {
  process_->Signal(SIGSTOP);
  int status = 0;
  waitpid(process_->pid(), &status, WUNTRACED);  // a later signal might be served first
}

int Victim::Stop() {
  process_->Signal(SIGTERM);
  if (reader_.joinable()) {
    reader_.join();
  } else {
    process_->ReadUntil("no such line");  // while it is watched
  }
  EndWatch();
  return process_->Wait();
}

}  // namespace wdelta::testing
