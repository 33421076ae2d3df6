#include "tests/bench/transfer_peers.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "grpcpp/grpcpp.h"
#include "storage/tensor/safetensors.h"
#include "tests/bench/fail.h"
#include "tests/bench/timers.h"
#include "wdelta/v1/fetch.grpc.pb.h"

extern char** environ;

namespace wdelta::bench {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kPieceBytes = 1 << 20;
constexpr uint64_t kRows = 2048;
constexpr uint64_t kColumns = 4096;

// The daemon's own messages without the daemon.
class BareFetch final : public v1::Fetch::Service {
 public:
  grpc::Status FetchFile(grpc::ServerContext*, const v1::FetchFileRequest* request,
                         grpc::ServerWriter<v1::FetchFileResponse>* writer) override {
    const std::string data(kPieceBytes, 'w');
    for (uint64_t offset = 0; offset < request->length();) {
      v1::FetchFileResponse response;
      const uint64_t size = std::min<uint64_t>(kPieceBytes, request->length() - offset);
      response.mutable_piece()->set_offset(offset);
      response.mutable_piece()->set_data(data.data(), size);
      if (!writer->Write(response)) break;
      offset += size;
    }
    return grpc::Status::OK;
  }
};

float FromBf16(uint16_t value) {
  const uint32_t bits = static_cast<uint32_t>(value) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

uint16_t ToBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<uint16_t>((bits + 0x8000) >> 16);
}

}  // namespace

Process::Process(std::vector<std::string> command) {
  std::vector<char*> argv;
  for (std::string& argument : command) argv.push_back(argument.data());
  argv.push_back(nullptr);
  if (posix_spawn(&pid_, argv[0], nullptr, nullptr, argv.data(), environ) != 0) {
    Die("cannot start " + command[0]);
  }
}

Process::~Process() {
  kill(pid_, SIGTERM);
  waitpid(pid_, nullptr, 0);
}

double Process::CpuSeconds() const {
  clockid_t clock;
  if (clock_getcpuclockid(pid_, &clock) != 0) Die("the system tells no CPU time of a process");
  return SecondsOn(clock);
}

uint64_t Process::PeakResidentBytes() const {
  std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
  for (std::string word; status >> word;) {
    uint64_t kibibytes = 0;
    if (word == "VmHWM:" && status >> kibibytes) return kibibytes * 1024;
  }
  return 0;
}

std::vector<std::string> AwaitAddresses(const fs::path& file) {
  for (int i = 0; i < 600; ++i) {
    std::ifstream lines(file);
    std::vector<std::string> addresses;
    for (std::string address; std::getline(lines, address);) addresses.push_back(address);
    if (!addresses.empty()) return addresses;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  Die("no server wrote " + file.string());
}

int ServeBare(const std::string& address_file) {
  BareFetch service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  const std::string socket = absl::StrCat("unix:", address_file, ".socket");
  builder.AddListeningPort(socket, grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  std::ofstream(address_file + ".part") << "127.0.0.1:" << port << "\n" << socket << "\n";
  fs::rename(address_file + ".part", address_file);
  server->Wait();
  return 0;
}

std::vector<fs::path> WriteSyntheticChain(const fs::path& folder, int models, uint64_t bytes) {
  const uint64_t tensor_count = std::max<uint64_t>(1, bytes / (2 * kRows * kColumns));
  std::vector<TensorInfo> tensors;
  for (uint64_t i = 0; i < tensor_count; ++i) {
    tensors.push_back(
        {"model.layers." + std::to_string(i) + ".weight", DType::kBF16, {kRows, kColumns}, 0, 0});
  }
  const std::string header = ValueOrDie(WriteSafetensorsHeader(tensors, {}));
  std::vector<fs::path> folders;
  std::vector<std::ofstream> files;
  for (int model = 0; model < models; ++model) {
    folders.push_back(folder / std::to_string(model));
    fs::create_directories(folders.back());
    files.emplace_back(folders.back() / "model.safetensors", std::ios::binary);
    files.back() << header;
  }
  std::mt19937_64 random(1);
  std::normal_distribution<float> normal(0.0f, 0.02f);
  // A long table, entered anywhere: numbers drawn one by one would take minutes a gigabyte.
  std::vector<float> table(1 << 20);
  for (float& value : table) value = normal(random);
  std::vector<uint16_t> row(kColumns);
  for (uint64_t i = 0; i < tensor_count * kRows; ++i) {
    for (int model = 0; model < models; ++model) {
      const float* const drawn = &table[random() % (table.size() - kColumns)];
      for (uint64_t column = 0; column < kColumns; ++column) {
        row[column] =
            ToBf16(model == 0 ? drawn[column] : FromBf16(row[column]) + 0.02f * drawn[column]);
      }
      files[model].write(reinterpret_cast<const char*>(row.data()), 2 * kColumns);
    }
  }
  return folders;
}

}  // namespace wdelta::bench
