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
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "client/cpp/client.h"
#include "client/cpp/freed_memory.h"
#include "client/cpp/pull.h"
#include "client/cpp/push.h"
#include "grpcpp/grpcpp.h"
#include "httplib.h"
#include "tests/bench/transfer_peers.h"
#include "tests/support/temp_folder.h"

namespace wdelta {
namespace {

namespace fs = std::filesystem;
using bench::AwaitAddresses;
using bench::Process;

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
  wdelta::KeepFreedMemory();
  namespace fs = std::filesystem;
  if (argc == 3 && std::string(argv[1]) == "--serve_bare") return wdelta::bench::ServeBare(argv[2]);
  const wdelta::TempFolder folder;
  const fs::path work = folder.path();
  fs::path base = argc == 3 ? argv[1] : "";
  fs::path fine_tune = argc == 3 ? argv[2] : "";
  if (argc != 3) {
    const auto pair = wdelta::bench::WriteSyntheticChain(work / "pair", 2, 268'435'456);
    base = pair[0];
    fine_tune = pair[1];
  }
  wdelta::Run(base, fine_tune, work, "/proc/self/exe");
  return 0;
}
