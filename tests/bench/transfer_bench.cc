// End-to-end rates with the real daemon, beside a bare gRPC stream of the same bytes.
//
//   wdelta_transfer_bench [BASE FINE_TUNE]   checkpoint folders; default: a synthetic pair
//
// Prints, best of three, in GB/s of checkpoint bytes:
//   bare     a gRPC server in a process of its own sends pieces of 1 MiB from memory; the
//            client drops them
//   push     PushCheckpoint of the fine-tune, until it is durable
//   pull     PullModel of the compressed fine-tune into a folder, SHA-256 verified
//   pull-crc the same with the checksum of every piece only
//   fetch    the file of the compressed fine-tune, received and dropped, as `bare` is
//   http     the same over HTTP, as clients of the Hub fetch it
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "client/cpp/client.h"
#include "client/cpp/pull.h"
#include "client/cpp/push.h"
#include "grpcpp/grpcpp.h"
#include "httplib.h"
#include "storage/tensor/safetensors.h"
#include "tests/support/temp_folder.h"

extern char** environ;

namespace wdelta {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kPieceBytes = 1 << 20;
constexpr int kRuns = 3;

[[noreturn]] void Die(const std::string& message) {
  std::cerr << "wdelta_transfer_bench: " << message << "\n";
  std::exit(1);
}

template <typename T>
T OrDie(absl::StatusOr<T> value, const std::string& what) {
  if (!value.ok()) Die(what + ": " + std::string(value.status().message()));
  return *std::move(value);
}

// The bare peer: the daemon's own messages without the daemon.
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
      writer->Write(response);
      offset += size;
    }
    return grpc::Status::OK;
  }
};

int ServeBare(const std::string& address_file) {
  BareFetch service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  std::ofstream(address_file + ".part") << "127.0.0.1:" << port << "\n";
  fs::rename(address_file + ".part", address_file);
  server->Wait();
  return 0;
}

// A child process, ended by the destructor.
class Process {
 public:
  explicit Process(std::vector<std::string> command) {
    std::vector<char*> argv;
    for (std::string& argument : command) argv.push_back(argument.data());
    argv.push_back(nullptr);
    if (posix_spawn(&pid_, argv[0], nullptr, nullptr, argv.data(), environ) != 0) {
      Die("cannot start " + command[0]);
    }
  }
  ~Process() {
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

 private:
  pid_t pid_ = 0;
};

// All that it serves on.
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

double Seconds(const std::function<void()>& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double BestSeconds(const std::function<void()>& body) {
  double best = Seconds(body);
  for (int i = 1; i < kRuns; ++i) best = std::min(best, Seconds(body));
  return best;
}

uint16_t ToBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<uint16_t>((bits + 0x8000) >> 16);
}

// bf16 weights N(0, 0.02); the fine-tune moves each by a relative 2e-2.
void WriteSynthetic(const fs::path& folder, bool fine_tune) {
  constexpr uint64_t kTensors = 16;
  constexpr uint64_t kRows = 2048;
  constexpr uint64_t kColumns = 4096;
  std::vector<TensorInfo> tensors;
  for (uint64_t i = 0; i < kTensors; ++i) {
    tensors.push_back(
        {"model.layers." + std::to_string(i) + ".weight", DType::kBF16, {kRows, kColumns}, 0, 0});
  }
  fs::create_directories(folder);
  std::ofstream out(folder / "model.safetensors", std::ios::binary);
  out << OrDie(WriteSafetensorsHeader(tensors, {}), "header");
  std::mt19937_64 base_random(1);
  std::mt19937_64 delta_random(2);
  std::normal_distribution<float> base(0.0f, 0.02f);
  std::normal_distribution<float> delta(0.0f, 0.0004f);
  std::vector<uint16_t> row(kColumns);
  for (uint64_t i = 0; i < kTensors * kRows; ++i) {
    for (uint16_t& weight : row) {
      weight = ToBf16(base(base_random) + (fine_tune ? delta(delta_random) : 0.0f));
    }
    out.write(reinterpret_cast<const char*>(row.data()), 2 * kColumns);
  }
}

void DropFile(Client& client, const v1::FetchFileRequest& request, uint64_t expected_bytes) {
  grpc::ClientContext context;
  const auto stream = client.fetch().FetchFile(&context, request);
  v1::FetchFileResponse response;
  uint64_t bytes = 0;
  while (stream->Read(&response)) bytes += response.piece().data().size();
  if (!stream->Finish().ok() || bytes != expected_bytes) Die("a stream broke off");
}

void DropDownload(httplib::Client& hub, const v1::FetchFileRequest& request,
                  uint64_t expected_bytes) {
  uint64_t bytes = 0;
  const auto result = hub.Get("/" + request.model() + "/resolve/main/" + request.path(),
                              [&bytes](const char*, size_t size) {
                                bytes += size;
                                return true;
                              });
  if (!result || result->status != 200 || bytes != expected_bytes) Die("a download broke off");
}

void Print(const char* what, double seconds, uint64_t bytes, double bare_seconds) {
  std::printf("%-10s %6.2f GB/s   %5.2f of bare\n", what, bytes / seconds / 1e9,
              bare_seconds / seconds);
}

void Run(const fs::path& base, const fs::path& fine_tune, const fs::path& work, const char* self) {
  const fs::path daemon_file = work / "daemon";
  const fs::path bare_file = work / "bare";
  const Process daemon({WDELTAD_PATH, "--data_dir=" + (work / "data").string(),
                        "--listen=127.0.0.1:0", "--http_listen=127.0.0.1:0",
                        "--address_file=" + daemon_file.string(), "--log_level=warn"});
  const Process bare_server({self, "--serve_bare", bare_file.string()});
  const std::vector<std::string> addresses = AwaitAddresses(daemon_file);
  const auto client = OrDie(Client::Create(addresses.front()), "daemon");
  const auto bare = OrDie(Client::Create(AwaitAddresses(bare_file).front()), "bare server");
  httplib::Client hub(addresses.back());

  PushOptions options;
  options.wait = true;
  options.name = "base";
  OrDie(PushCheckpoint(*client, base.string(), options), "push base");
  options.wait = false;
  v1::Parent parent;
  parent.set_model("base");
  options.parents = {parent};
  int run = 0;
  PushResult pushed;
  const double push_seconds = BestSeconds([&] {
    options.name = "fine-tune-" + std::to_string(run++);
    pushed = OrDie(PushCheckpoint(*client, fine_tune.string(), options), "push");
  });
  OrDie(client->WatchJob(pushed.job), "compression");

  const v1::Model model = OrDie(client->GetModel(options.name), "model");
  v1::FetchFileRequest whole;
  whole.set_model(options.name);
  uint64_t file_bytes = 0;
  for (const v1::File& file : model.files()) {
    if (file.size_bytes() > file_bytes) {
      whole.set_path(file.path());
      file_bytes = file.size_bytes();
    }
  }
  v1::FetchFileRequest bare_request;
  bare_request.set_length(file_bytes);
  const double bare_seconds = BestSeconds([&] { DropFile(*bare, bare_request, file_bytes); });
  const double fetch_seconds = BestSeconds([&] { DropFile(*client, whole, file_bytes); });
  const double http_seconds = BestSeconds([&] { DropDownload(hub, whole, file_bytes); });
  PullOptions pull;
  const fs::path target = work / "pulled";
  const auto pull_once = [&] {
    fs::remove_all(target);
    OrDie(PullModel(*client, options.name, target.string(), pull), "pull");
  };
  const double pull_seconds = BestSeconds(pull_once);
  pull.verify = Verify::kChecksum;
  const double crc_seconds = BestSeconds(pull_once);

  std::printf("%.1f MB, stored as %.1f MB; best of %d\n", file_bytes / 1e6,
              model.stored_bytes() / 1e6, kRuns);
  Print("bare", bare_seconds, file_bytes, bare_seconds);
  Print("push", push_seconds, pushed.total_bytes, bare_seconds);
  Print("pull", pull_seconds, file_bytes, bare_seconds);
  Print("pull-crc", crc_seconds, file_bytes, bare_seconds);
  Print("fetch", fetch_seconds, file_bytes, bare_seconds);
  Print("http", http_seconds, file_bytes, bare_seconds);
  std::printf("http is %.2f of fetch, %.2f of pull\n", fetch_seconds / http_seconds,
              pull_seconds / http_seconds);
}

}  // namespace
}  // namespace wdelta

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  if (argc == 3 && std::string(argv[1]) == "--serve_bare") return wdelta::ServeBare(argv[2]);
  const wdelta::TempFolder folder;
  const fs::path work = folder.path();
  fs::path base = argc == 3 ? argv[1] : work / "base";
  fs::path fine_tune = argc == 3 ? argv[2] : work / "fine-tune";
  if (argc != 3) {
    wdelta::WriteSynthetic(base, false);
    wdelta::WriteSynthetic(fine_tune, true);
  }
  wdelta::Run(base, fine_tune, work, "/proc/self/exe");
  return 0;
}
