#include "tests/crash/victim.h"

#include <signal.h>
#include <stdlib.h>

#include <fstream>
#include <vector>

#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"

namespace wdelta::testing {

Victim::Victim(const std::string& data_dir, const std::string& failpoint) : data_dir_(data_dir) {
  const std::vector<std::string> arguments = {
      WDELTAD_FILE,           "--data_dir=" + data_dir, "--address_file=" + data_dir + ".address",
      "--listen=127.0.0.1:0", "--memory_limit=256MiB",  "--codec_threads=2",
      "--gc_interval=off"};
  if (!failpoint.empty()) setenv("WDELTA_FAILPOINTS", failpoint.c_str(), 1);
  process_ = std::make_unique<ChildProcess>(arguments);
  unsetenv("WDELTA_FAILPOINTS");
}

Victim::~Victim() {
  Kill();
  if (reader_.joinable()) reader_.join();
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

int Victim::Stop() {
  process_->Signal(SIGTERM);
  if (reader_.joinable()) reader_.join();
  return process_->Wait();
}

}  // namespace wdelta::testing
