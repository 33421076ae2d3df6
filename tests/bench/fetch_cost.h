// What moving some bytes costs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>

#include "tests/bench/timers.h"
#include "tests/bench/transfer_peers.h"

namespace wdelta::bench {

constexpr int kRuns = 3;

struct Cost {
  double seconds = 0;
  double cpu_seconds = 0;
  uint64_t bytes = 0;
  double CpuSecondsPerGb() const { return cpu_seconds / (bytes / 1e9); }
  double GbPerSecond() const { return bytes / seconds / 1e9; }
};

// `body` returns the bytes that it moved. Counts this program and `server`.
inline Cost Measure(const Process* server, const std::function<uint64_t()>& body) {
  const auto cpu = [&] {
    return ProcessSeconds() + (server == nullptr ? 0 : server->CpuSeconds());
  };
  Cost cost;
  const double cpu_start = cpu();
  const double start = WallSeconds();
  cost.bytes = body();
  cost.seconds = WallSeconds() - start;
  cost.cpu_seconds = cpu() - cpu_start;
  return cost;
}

// The least CPU time and the least wall time of kRuns, of the same bytes.
inline Cost Best(const std::function<Cost()>& run) {
  Cost best = run();
  for (int i = 1; i < kRuns; ++i) {
    const Cost cost = run();
    best.cpu_seconds = std::min(best.cpu_seconds, cost.cpu_seconds);
    best.seconds = std::min(best.seconds, cost.seconds);
  }
  return best;
}
inline Cost Best(const Process* server, const std::function<uint64_t()>& body) {
  return Best([&] { return Measure(server, body); });
}

}  // namespace wdelta::bench
