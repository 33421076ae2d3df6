// What a fetch costs, beside the parts that it is made of.
//
//   wdelta_fetch_bench                       a synthetic chain of --models of --megabytes each
//   wdelta_fetch_bench BASE CHILD [CHILD…]   checkpoint folders, each the parent of the next
//
// With g the CPU seconds a GB of a bare gRPC stream (both ends) and c those of decoding alone,
// every row shows its own CPU seconds a GB of daemon and client together, and its rate, as parts
// of g + c * depth and of cores / (g + c * depth).
//
// Rows, for models of depth 1, 2 and 4 where the chain has them:
//   cold      the first fetch after a start of the daemon: no base chunk is cached
//   warm      the first fetch of a daemon that has the base in its cache as far as it fits, the
//             least of three
//   again     the least of three more; of the model itself the cache has chunks by then
//   8 clients all fetch the same model at once
//   http      the least of three downloads, as clients of the Hub make them
//   pull      PullModel into a folder, SHA-256 verified; pull-crc: checksums of pieces only
// and the same bytes by other ways: a bare gRPC stream, nginx when it is installed, `cat`,
// deltatensors' load.
// Then the time to the first byte, and of 1 MB out of the middle; the daemon's peak memory.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/cpp/client.h"
#include "client/cpp/freed_memory.h"
#include "client/cpp/pull.h"
#include "client/cpp/push.h"
#include "storage/base/limits.h"
#include "tests/bench/chunk_loader.h"
#include "tests/bench/fail.h"
#include "tests/bench/fetch_cost.h"
#include "tests/bench/fetch_parts.h"
#include "tests/bench/fetch_peers.h"
#include "tests/bench/table.h"
#include "tests/bench/transfer_peers.h"
#include "tests/support/temp_folder.h"

namespace wdelta::bench {
namespace {

namespace fs = std::filesystem;

constexpr int kClients = 8;
constexpr int kRangeCalls = 20;
constexpr uint64_t kRangeBytes = 1'000'000;

struct Arguments {
  std::vector<std::string> folders;
  uint64_t megabytes = 512;
  int models = 5;
  std::string memory_limit = "2GiB";
  std::string python;
};

class Daemon {
 public:
  Daemon(const fs::path& work, const std::string& memory_limit) {
    const fs::path file = work / "daemon";
    fs::remove(file);
    process_ = std::make_unique<Process>(std::vector<std::string>{
        WDELTAD_PATH, "--data_dir=" + (work / "data").string(),
        absl::StrCat("--listen=127.0.0.1:0,unix:", (work / "socket").string()),
        "--http_listen=127.0.0.1:0", "--address_file=" + file.string(), "--log_level=warn",
        "--memory_limit=" + memory_limit});
    const std::vector<std::string> addresses = AwaitAddresses(file);
    client_ = ValueOrDie(Client::Create(addresses.front()));
    address_ = addresses.front();
    socket_address_ = addresses[1];
    http_address_ = addresses.back();
  }
  const Process* process() const { return process_.get(); }
  Client& client() const { return *client_; }
  // A connection of its own.
  std::unique_ptr<Client> NewClient() const { return ValueOrDie(Client::Create(address_)); }
  // The same on a Unix socket.
  std::unique_ptr<Client> NewLocalClient() const {
    return ValueOrDie(Client::Create(socket_address_));
  }
  const std::string& http_address() const { return http_address_; }

 private:
  std::unique_ptr<Process> process_;
  std::unique_ptr<Client> client_;
  std::string address_;
  std::string socket_address_;
  std::string http_address_;
};

std::string NameOf(size_t model) { return absl::StrCat("chain-", model); }

// Pushes the chain; every model waits for its compression, so that the next may lean on it.
void PushChain(Client& client, const std::vector<fs::path>& folders) {
  for (size_t i = 0; i < folders.size(); ++i) {
    PushOptions options;
    options.wait = true;
    options.name = NameOf(i);
    if (i > 0) {
      v1::Parent parent;
      parent.set_model(NameOf(i - 1));
      options.parents = {parent};
    }
    ValueOrDie(PushCheckpoint(client, folders[i].string(), options));
  }
}

v1::FetchFileRequest LargestFile(Client& client, const std::string& name) {
  v1::FetchFileRequest request;
  request.set_model(name);
  uint64_t size_bytes = 0;
  const v1::Model model = ValueOrDie(client.GetModel(name));
  for (const v1::File& file : model.files()) {
    if (file.size_bytes() <= size_bytes) continue;
    request.set_path(file.path());
    size_bytes = file.size_bytes();
  }
  return request;
}

class Bench {
 public:
  Bench(std::vector<fs::path> folders, fs::path work, const Arguments& arguments)
      : folders_(std::move(folders)),
        work_(std::move(work)),
        limit_(arguments.memory_limit),
        python_(arguments.python) {}

  void Run() {
    daemon_ = std::make_unique<Daemon>(work_, limit_);
    PushChain(daemon_->client(), folders_);
    // A fresh daemon: its peak is of the fetches alone.
    Restart();
    MeasureBare();
    for (size_t depth : {1, 2, 4}) {
      if (depth < folders_.size()) MeasureDepth(depth);
    }
    MeasurePeers({folders_[0], folders_[1], LargestFile(daemon_->client(), NameOf(1)).path(), work_,
                  python_},
                 [this](const std::string& what, const Cost& cost) { Add(what, cost, 0); });
    std::fputs(table_.Text().c_str(), stdout);
    MeasureLatency();
    std::printf("peak memory of the daemon, fetches only: %.0f MiB, --memory_limit=%s\n",
                peak_bytes_ / 1048576.0, limit_.c_str());
  }

 private:
  void Restart() {
    daemon_.reset();
    daemon_ = std::make_unique<Daemon>(work_, limit_);
  }

  void Add(const std::string& what, const Cost& cost, double bar_seconds_per_gb) {
    std::vector<std::string> cells = {what, Fixed(cost.GbPerSecond(), 2),
                                      Fixed(cost.CpuSecondsPerGb(), 3)};
    if (bar_seconds_per_gb > 0) {
      const double bar_rate = cores_ / bar_seconds_per_gb;
      cells.push_back(Fixed(cost.CpuSecondsPerGb() / bar_seconds_per_gb, 2));
      cells.push_back(Fixed(cost.GbPerSecond() / bar_rate, 2));
    }
    table_.AddRow(std::move(cells));
  }

  void MeasureBare() {
    const fs::path file = work_ / "bare";
    const Process server({"/proc/self/exe", "--serve_bare", file.string()});
    const std::vector<std::string> addresses = AwaitAddresses(file);
    v1::FetchFileRequest request;
    uint64_t size_bytes = 0;
    const v1::Model base = ValueOrDie(daemon_->client().GetModel(NameOf(0)));
    for (const v1::File& f : base.files()) {
      size_bytes = std::max<uint64_t>(size_bytes, f.size_bytes());
    }
    request.set_length(size_bytes);
    const auto measure = [&](const std::string& address) {
      const auto client = ValueOrDie(Client::Create(address));
      return Best(&server, [&] { return ValueOrDie(DropFile(*client, request)).bytes; });
    };
    const Cost cost = measure(addresses.front());
    bare_seconds_per_gb_ = cost.CpuSecondsPerGb();
    Add("bare gRPC stream (g)", cost, 0);
    Add("the same on a Unix socket", measure(addresses.back()), 0);
    table_.AddRule();
  }

  // Decoding of one layer, in CPU seconds a GB of the model.
  double Layer(size_t model) {
    const fs::path delta = work_ / "delta.wdelta";
    DieUnlessOk(SaveStoredDelta(daemon_->client(), NameOf(model), delta.string()));
    double best = 1e9;
    for (int i = 0; i < kRuns; ++i) {
      best = std::min(best,
                      ValueOrDie(DecodeCpuSeconds(delta.string(), folders_[model - 1].string())));
    }
    return best / (ValueOrDie(daemon_->client().GetModel(NameOf(model))).raw_bytes() / 1e9);
  }

  void MeasureDepth(size_t depth) {
    const v1::Model model = ValueOrDie(daemon_->client().GetModel(NameOf(depth)));
    if (model.storage().depth() != depth) {
      std::printf("depth %zu: stored at depth %u, left out\n", depth, model.storage().depth());
      return;
    }
    double decoding = 0;
    for (size_t layer = 1; layer <= depth; ++layer) decoding += Layer(layer);
    const double sum = bare_seconds_per_gb_ + decoding;
    const auto label = [&](const char* what) { return absl::StrCat("depth ", depth, " ", what); };
    table_.AddRow({label("decode (c)"), Fixed(1 / decoding, 2), Fixed(decoding, 3)});

    const v1::FetchFileRequest whole = LargestFile(daemon_->client(), NameOf(depth));
    Restart();
    const auto fetch = [&] { return ValueOrDie(DropFile(daemon_->client(), whole)).bytes; };
    Add(label("cold"), Measure(daemon_->process(), fetch), sum);
    Add(label("warm"), Best([&] { return MeasureWarm(whole, false); }), sum);
    Add(label("warm, Unix socket"), Best([&] { return MeasureWarm(whole, true); }), sum);
    Add(label("again"), Best(daemon_->process(), fetch), sum);
    Add(label("8 clients"), Best(daemon_->process(), [&] { return FetchByMany(whole); }), sum);
    const std::string target = "/" + whole.model() + "/resolve/main/" + whole.path();
    Add(label("http"),
        Best(daemon_->process(),
             [&] { return ValueOrDie(DropDownload(daemon_->http_address(), target)).bytes; }),
        sum);
    AddPull(label("pull"), depth, Verify::kSha256, sum);
    AddPull(label("pull-crc"), depth, Verify::kChecksum, sum);
    peak_bytes_ = std::max(peak_bytes_, daemon_->process()->PeakResidentBytes());
    table_.AddRule();
  }

  // The second fetch of the base leaves as much of it in the cache as it holds.
  Cost MeasureWarm(const v1::FetchFileRequest& whole, bool is_local) {
    Restart();
    const auto client = is_local ? daemon_->NewLocalClient() : daemon_->NewClient();
    for (int i = 0; i < 2; ++i) {
      ValueOrDie(DropFile(daemon_->client(), LargestFile(daemon_->client(), NameOf(0))));
    }
    return Measure(daemon_->process(), [&] { return ValueOrDie(DropFile(*client, whole)).bytes; });
  }

  void AddPull(const std::string& what, size_t depth, Verify verify, double sum) {
    PullOptions options;
    options.verify = verify;
    const fs::path target = work_ / "pulled";
    Add(what,
        Best(daemon_->process(),
             [&] {
               fs::remove_all(target);
               ValueOrDie(PullModel(daemon_->client(), NameOf(depth), target.string(), options));
               return ValueOrDie(daemon_->client().GetModel(NameOf(depth))).raw_bytes();
             }),
        sum);
    fs::remove_all(target);
  }

  uint64_t FetchByMany(const v1::FetchFileRequest& request) {
    std::vector<uint64_t> bytes(kClients);
    std::vector<std::thread> threads;
    for (int i = 0; i < kClients; ++i) {
      threads.emplace_back([&, i] {
        const auto client = daemon_->NewClient();
        bytes[i] = ValueOrDie(DropFile(*client, request)).bytes;
      });
    }
    uint64_t total = 0;
    for (int i = 0; i < kClients; ++i) {
      threads[i].join();
      total += bytes[i];
    }
    return total;
  }

  static std::string Milliseconds(std::vector<double> seconds) {
    std::sort(seconds.begin(), seconds.end());
    return absl::StrCat(Fixed(1e3 * seconds[seconds.size() / 2], 2), " ms, at most ",
                        Fixed(1e3 * seconds.back(), 2), " ms");
  }

  void MeasureLatency() {
    v1::FetchFileRequest request = LargestFile(daemon_->client(), NameOf(1));
    const uint64_t size_bytes = ValueOrDie(DropFile(daemon_->client(), request)).bytes;
    request.set_length(std::min(size_bytes, kRangeBytes));
    std::vector<double> first, range, http_range;
    for (int i = 0; i < kRangeCalls; ++i) {
      request.set_offset(0);
      first.push_back(ValueOrDie(DropFile(daemon_->client(), request)).first_piece_seconds);
      request.set_offset((size_bytes - request.length()) / kRangeCalls * i);
      range.push_back(ValueOrDie(DropFile(daemon_->client(), request)).seconds);
      http_range.push_back(
          ValueOrDie(DropDownload(daemon_->http_address(),
                                  "/" + request.model() + "/resolve/main/" + request.path(),
                                  request.offset(), request.offset() + request.length() - 1))
              .seconds);
    }
    std::printf("first piece, warm: %s\n", Milliseconds(first).c_str());
    std::printf("1 MB out of the file, warm: gRPC %s; HTTP %s\n", Milliseconds(range).c_str(),
                Milliseconds(http_range).c_str());
  }

  const std::vector<fs::path> folders_;
  const fs::path work_;
  const std::string limit_;
  const std::string python_;
  const double cores_ = std::max(1u, std::thread::hardware_concurrency());
  std::unique_ptr<Daemon> daemon_;
  double bare_seconds_per_gb_ = 0;
  uint64_t peak_bytes_ = 0;
  Table table_{{"", "GB/s", "CPU s/GB", "of g+c", "rate of cores/(g+c)"}};
};

int Main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "--serve_bare") return ServeBare(argv[2]);
  Arguments arguments;
  CLI::App app("Costs of fetches", "wdelta_fetch_bench");
  app.add_option("folders", arguments.folders, "Checkpoints, each the parent of the next");
  app.add_option("--megabytes", arguments.megabytes, "Of each synthetic model")
      ->capture_default_str();
  app.add_option("--models", arguments.models, "Of the synthetic chain")
      ->check(CLI::Range(2, 5))
      ->capture_default_str();
  app.add_option("--memory_limit", arguments.memory_limit, "Of the daemon")->capture_default_str();
  app.add_option("--python", arguments.python, "An interpreter that has deltatensors");
  CLI11_PARSE(app, argc, argv);
  if (arguments.folders.size() == 1) Die("expected a base and at least one child");
  const TempFolder temp;
  const fs::path work = temp.path();
  std::vector<fs::path> folders(arguments.folders.begin(), arguments.folders.end());
  if (folders.empty()) {
    folders =
        WriteSyntheticChain(work / "chain", arguments.models, arguments.megabytes * 1'000'000);
  }
  Bench(folders, work, arguments).Run();
  return 0;
}

}  // namespace
}  // namespace wdelta::bench

int main(int argc, char** argv) {
  wdelta::KeepFreedMemory();
  return wdelta::bench::Main(argc, argv);
}
