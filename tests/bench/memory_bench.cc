// Peak memory of the real daemon under --memory_limit, with checkpoints larger than that.
//
//   wdelta_memory_bench [--limit_mib=256] [--gigabytes=2] [--streams=8]
//
// Prints VmHWM of the daemon after each phase, which is the most since its start:
//   push            a root of that many gigabytes, compressed to the end: half of it is zero, half
//                   random
//   chain           fine-tunes of 256 MB, each of the one before
//   fetches         so many at once of the end of the chain, and of the root
//   uploads         so many at once of 256 MB
//   slow readers    many fetches whose clients take one message and wait
// Exits with 1 when it ever exceeds the limit by more than a tenth.
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "client/cpp/client.h"
#include "client/cpp/push.h"
#include "grpcpp/grpcpp.h"
#include "storage/tensor/safetensors.h"
#include "tests/bench/transfer_peers.h"
#include "tests/support/temp_folder.h"

namespace wdelta {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kRows = 2048;
constexpr uint64_t kColumns = 4096;
constexpr uint64_t kTensorBytes = kRows * kColumns * 2;
constexpr uint64_t kSmallTensors = 16;  // 256 MB
constexpr int kChain = 4;
constexpr int kSlowReaders = 64;

template <typename T>
T OrDie(absl::StatusOr<T> value, const std::string& what) {
  if (value.ok()) return *std::move(value);
  std::cerr << "wdelta_memory_bench: " << what << ": " << value.status() << "\n";
  std::exit(1);
}

class Daemon {
 public:
  Daemon(const fs::path& work, const std::string& memory_limit)
      : process_({WDELTAD_PATH, "--data_dir=" + (work / "data").string(), "--listen=127.0.0.1:0",
                  "--address_file=" + (work / "address").string(), "--log_level=warn",
                  "--memory_limit=" + memory_limit}),
        address_(bench::AwaitAddresses(work / "address").front()) {}

  const std::string& address() const { return address_; }
  double PeakMib() const { return static_cast<double>(process_.PeakResidentBytes()) / 1048576; }

 private:
  const bench::Process process_;
  const std::string address_;
};

// bf16 tensors, every second one of zeros, which take no disk. Each generation differs from the
// one before by a bit in each eighth weight or so; the first, 0, is the root.
void WriteCheckpoint(const fs::path& folder, uint64_t tensor_count, uint32_t generation) {
  std::vector<TensorInfo> tensors;
  for (uint64_t i = 0; i < tensor_count; ++i) {
    tensors.push_back({"layers." + std::to_string(i) + ".weight", DType::kBF16, {kRows, kColumns}});
  }
  fs::create_directories(folder);
  std::ofstream out(folder / "model.safetensors", std::ios::binary);
  out << OrDie(WriteSafetensorsHeader(tensors, {}), "header");
  std::mt19937_64 random(1);
  std::vector<std::mt19937> changes;
  for (uint32_t i = 1; i <= generation; ++i) changes.emplace_back(i);
  std::vector<uint16_t> row(kColumns);
  for (uint64_t i = 0; i < tensor_count; ++i) {
    if (i % 2 == 1) {
      out.seekp(static_cast<std::streamoff>(kTensorBytes), std::ios::cur);
      continue;
    }
    for (uint64_t r = 0; r < kRows; ++r) {
      for (uint16_t& weight : row) {
        weight = static_cast<uint16_t>(0x3c00 + random() % 1024);
        for (std::mt19937& change : changes) weight ^= change() % 8 == 0 ? 1 : 0;
      }
      out.write(reinterpret_cast<const char*>(row.data()), 2 * kColumns);
    }
  }
  // The last tensor may be a hole.
  const auto end = static_cast<uint64_t>(out.tellp());
  out.close();
  fs::resize_file(folder / "model.safetensors", end);
}

void DropFile(const std::string& address, const std::string& model) {
  const auto client = OrDie(Client::Create(address), "connect");
  v1::FetchFileRequest request;
  request.set_model(model);
  request.set_path("model.safetensors");
  while (true) {
    grpc::ClientContext context;
    const auto reader = client->fetch().FetchFile(&context, request);
    v1::FetchFileResponse part;
    while (reader->Read(&part)) {
    }
    const grpc::Status status = reader->Finish();
    if (status.ok()) return;
    if (status.error_code() != grpc::StatusCode::RESOURCE_EXHAUSTED) {
      std::cerr << "fetch: " << status.error_message() << "\n";
      std::exit(1);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

void Push(const std::string& address, const fs::path& folder, const std::string& name,
          const std::string& parent, bool wait) {
  const auto client = OrDie(Client::Create(address), "connect");
  PushOptions options;
  options.name = name;
  options.wait = wait;
  options.reuse = Reuse::kNever;
  options.max_reconnects = 100;
  if (!parent.empty()) options.parents.emplace_back().set_model(parent);
  OrDie(PushCheckpoint(*client, folder.string(), options), "push " + name);
}

// Takes one message of as many fetches as are served, and keeps them.
void ReadSlowly(const std::string& address, const std::string& model) {
  struct Slow {
    std::unique_ptr<Client> client;
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::FetchFileResponse>> reader;
  };
  std::vector<std::unique_ptr<Slow>> all;
  v1::FetchFileRequest request;
  request.set_model(model);
  request.set_path("model.safetensors");
  v1::FetchFileResponse part;
  for (int i = 0; i < kSlowReaders; ++i) {
    all.push_back(std::make_unique<Slow>());
    Slow& slow = *all.back();
    slow.client = OrDie(Client::Create(address), "connect");
    slow.reader = slow.client->fetch().FetchFile(&slow.context, request);
    slow.reader->Read(&part);
  }
  std::this_thread::sleep_for(std::chrono::seconds(2));  // windows fill
  for (const auto& slow : all) {
    slow->context.TryCancel();
    while (slow->reader->Read(&part)) {
    }
    slow->reader->Finish();
  }
}

int Run(const std::string& memory_limit, double limit_mib, uint64_t gigabytes, int streams) {
  const TempFolder folder;
  const fs::path work = folder.path();
  WriteCheckpoint(work / "large", (gigabytes << 30) / kTensorBytes, 0);
  for (int i = 0; i <= kChain; ++i) {
    WriteCheckpoint(work / ("c" + std::to_string(i)), kSmallTensors, static_cast<uint32_t>(i));
  }
  const Daemon daemon(work, memory_limit);
  double peak_mib = daemon.PeakMib();
  const auto report = [&](const char* phase) {
    peak_mib = daemon.PeakMib();
    std::printf("%-14s peak RSS %7.1f MiB  %5.2f of --memory_limit\n", phase, peak_mib,
                peak_mib / limit_mib);
    std::fflush(stdout);
  };
  report("start");
  Push(daemon.address(), work / "large", "large", "", true);
  report("push");
  for (int i = 0; i <= kChain; ++i) {
    Push(daemon.address(), work / ("c" + std::to_string(i)), "c" + std::to_string(i),
         i == 0 ? "" : "c" + std::to_string(i - 1), true);
  }
  report("chain");
  const auto together = [&](const auto& body) {
    std::vector<std::thread> threads;
    for (int i = 0; i < streams; ++i) threads.emplace_back([&body, i] { body(i); });
    for (std::thread& thread : threads) thread.join();
  };
  const std::string last = "c" + std::to_string(kChain);
  together([&](int i) { DropFile(daemon.address(), i % 4 == 3 ? "large" : last); });
  report("fetches");
  together([&](int i) {
    Push(daemon.address(), work / "c0", "copy" + std::to_string(i), i % 2 == 0 ? last : "", true);
  });
  report("uploads");
  ReadSlowly(daemon.address(), last);
  report("slow readers");
  const bool is_within = peak_mib <= 1.1 * limit_mib;
  std::printf("%s\n", is_within ? "within the limit and a tenth" : "BEYOND the limit and a tenth");
  return is_within ? 0 : 1;
}

}  // namespace
}  // namespace wdelta

int main(int argc, char** argv) {
  CLI::App app("Peak memory of the daemon under its limit");
  int limit_mib = 256;
  uint64_t gigabytes = 2;
  int streams = 8;
  app.add_option("--limit_mib", limit_mib, "--memory_limit of the daemon, MiB");
  app.add_option("--gigabytes", gigabytes, "of the large root");
  app.add_option("--streams", streams, "fetches, and uploads, at once");
  CLI11_PARSE(app, argc, argv);
  return wdelta::Run(std::to_string(limit_mib) + "MiB", limit_mib, gigabytes, streams);
}
