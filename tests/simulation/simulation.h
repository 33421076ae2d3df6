// A store, its clients, its jobs and its accidents, all from one seed.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace wdelta::testing {

struct SimulationReport {
  std::vector<std::string> failures;  // empty: nothing that was promised was broken
  uint64_t trace_hash = 0;            // the same for the same seed
  std::deque<std::string> trace;      // its last lines
  uint64_t operations = 0;            // of disk, blobs and catalog
  uint64_t crashes = 0;
  uint64_t faults = 0;
  uint64_t models = 0;  // that were made
};

// In the calling thread and in threads of its own, of which one runs at a time. Any number of
// threads may simulate at once.
SimulationReport Simulate(uint64_t seed);

}  // namespace wdelta::testing
