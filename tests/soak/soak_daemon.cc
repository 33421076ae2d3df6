#include "tests/soak/soak_daemon.h"

#include <signal.h>

#include <algorithm>
#include <fstream>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"
#include "gtest/gtest.h"

namespace wdelta::testing {
namespace {

// Clients look for a daemon that is gone this often, not more and more seldom.
constexpr int kMaxReconnectBackoffMs = 500;

}  // namespace

SoakDaemon::SoakDaemon(std::string folder, uint64_t memory_limit_bytes)
    : folder_(std::move(folder)), memory_limit_bytes_(memory_limit_bytes) {}

SoakDaemon::~SoakDaemon() {
  if (process_ != nullptr) process_->Signal(SIGKILL);
  JoinReader();
}

bool SoakDaemon::Start() {
  const std::string address_file = folder_ + "/address";
  process_ = std::make_unique<ChildProcess>(std::vector<std::string>{
      WDELTAD_FILE, "--data_dir=" + data_dir(), "--address_file=" + address_file,
      "--listen=unix:" + folder_ + "/socket", "--http_listen=127.0.0.1:0",
      absl::StrCat("--memory_limit=", memory_limit_bytes_), "--gc_interval=off",
      "--codec_threads=2", "--log_level=warn"});
  // Nothing is logged at this level: the file of addresses tells when it serves.
  std::string grpc_address, http_address;
  const absl::Time end = absl::Now() + absl::Minutes(2);
  std::remove(address_file.c_str());
  while (http_address.empty() && absl::Now() < end) {
    absl::SleepFor(absl::Milliseconds(20));
    std::ifstream lines(address_file);
    std::getline(lines, grpc_address);
    std::getline(lines, http_address);
  }
  if (http_address.empty()) {
    process_->Signal(SIGKILL);
    process_->Wait();
    ADD_FAILURE() << "the daemon did not serve: " << process_->output();
    return false;
  }
  reader_ = std::thread([this] { process_->ReadUntil("no such line"); });
  absl::MutexLock lock(&mutex_);
  http_address_ = std::string(absl::StripPrefix(http_address, "http://"));
  is_up_ = true;
  up_since_ = absl::Now();
  return true;
}

void SoakDaemon::NoteDown() {
  PeakRssBytes();
  absl::MutexLock lock(&mutex_);
  is_up_ = false;
}

void SoakDaemon::JoinReader() {
  if (reader_.joinable()) reader_.join();
}

void SoakDaemon::Kill() {
  NoteDown();
  process_->Signal(SIGKILL);
  JoinReader();
  process_->Wait();
}

int SoakDaemon::Stop() {
  NoteDown();
  process_->Signal(SIGTERM);
  JoinReader();
  return process_->Wait();
}

std::shared_ptr<grpc::Channel> SoakDaemon::NewChannel() const {
  grpc::ChannelArguments arguments;
  // Otherwise channels to one address share a connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kMaxReconnectBackoffMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kMaxReconnectBackoffMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxReconnectBackoffMs);
  return grpc::CreateCustomChannel("unix:" + folder_ + "/socket",
                                   grpc::InsecureChannelCredentials(), arguments);
}

std::string SoakDaemon::http_address() const {
  absl::MutexLock lock(&mutex_);
  return http_address_;
}

bool SoakDaemon::WasDownSince(absl::Time time) const {
  absl::MutexLock lock(&mutex_);
  return !is_up_ || up_since_ >= time;
}

uint64_t SoakDaemon::PeakRssBytes() {
  std::ifstream lines(absl::StrCat("/proc/", process_->pid(), "/status"));
  uint64_t peak_bytes = 0;
  for (std::string word; lines >> word;) {
    if (word != "VmHWM:") continue;
    uint64_t kib = 0;
    lines >> kib;
    peak_bytes = kib * 1024;
  }
  absl::MutexLock lock(&mutex_);
  peak_rss_bytes_ = std::max(peak_rss_bytes_, peak_bytes);
  return peak_rss_bytes_;
}

}  // namespace wdelta::testing
