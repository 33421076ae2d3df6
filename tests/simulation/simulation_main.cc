// wdelta_simulation [SEEDS [FIRST]]: simulates so many seeds (default 2000), from FIRST (default
// 1), and ends with 1 when one of them fails: its number, why, and the end of its trace are
// printed. Before them: `--trace` prints the whole trace.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "tests/simulation/simulation.h"

namespace {

using wdelta::testing::Simulate;
using wdelta::testing::SimulationReport;

constexpr size_t kTraceLines = 150;

struct Totals {
  uint64_t operations = 0;
  uint64_t crashes = 0;
  uint64_t faults = 0;
  uint64_t models = 0;
  uint64_t failed_seeds = 0;
};

void Print(uint64_t seed, const SimulationReport& report, bool whole_trace) {
  const size_t count =
      whole_trace ? report.trace.size() : std::min(kTraceLines, report.trace.size());
  for (size_t i = report.trace.size() - count; i < report.trace.size(); ++i) {
    std::printf("%s\n", report.trace[i].c_str());
  }
  if (report.failures.empty()) return;
  std::printf("seed %llu FAILS:\n", static_cast<unsigned long long>(seed));
  for (const std::string& failure : report.failures) std::printf("  %s\n", failure.c_str());
  std::printf("again: wdelta_simulation --trace 1 %llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
}

Totals SimulateAll(uint64_t seeds, uint64_t first, bool whole_trace) {
  constexpr uint64_t kMaxFailedSeeds = 3;
  Totals totals;
  std::mutex mutex;
  std::atomic<uint64_t> next{first};
  const auto work = [&] {
    while (true) {
      const uint64_t seed = next++;
      if (seed >= first + seeds) return;
      const SimulationReport report = Simulate(seed);
      const std::lock_guard lock(mutex);
      totals.operations += report.operations;
      totals.crashes += report.crashes;
      totals.faults += report.faults;
      totals.models += report.models;
      if (!report.failures.empty() || whole_trace) Print(seed, report, whole_trace);
      if (!report.failures.empty() && ++totals.failed_seeds == kMaxFailedSeeds) {
        next = first + seeds;
      }
    }
  };
  std::vector<std::thread> threads;
  const uint64_t cores = std::max(1U, std::thread::hardware_concurrency());
  for (uint64_t i = 0; i < std::min(cores, seeds); ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  return totals;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  const bool whole_trace = !arguments.empty() && arguments[0] == "--trace";
  if (whole_trace) arguments.erase(arguments.begin());
  uint64_t seeds = 2000;
  uint64_t first = 1;
  const bool is_good = arguments.size() <= 2 &&
                       (arguments.empty() || absl::SimpleAtoi(arguments[0], &seeds)) &&
                       (arguments.size() < 2 || absl::SimpleAtoi(arguments[1], &first));
  if (!is_good) {
    std::fprintf(stderr, "usage: wdelta_simulation [--trace] [SEEDS [FIRST]]\n");
    return 2;
  }
  const absl::Time start = absl::Now();
  const Totals totals = SimulateAll(seeds, first, whole_trace);
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  std::printf(
      "%llu seeds from %llu in %.1f s (%.0f a minute): %llu operations, %llu crashes, "
      "%llu faults, %llu models; %llu seeds failed\n",
      static_cast<unsigned long long>(seeds), static_cast<unsigned long long>(first), seconds,
      60 * static_cast<double>(seeds) / seconds, static_cast<unsigned long long>(totals.operations),
      static_cast<unsigned long long>(totals.crashes),
      static_cast<unsigned long long>(totals.faults),
      static_cast<unsigned long long>(totals.models),
      static_cast<unsigned long long>(totals.failed_seeds));
  return totals.failed_seeds == 0 ? 0 : 1;
}
