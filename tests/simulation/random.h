// The one source of chance of a simulation: everything that is drawn follows from the seed.
#pragma once

#include <cstdint>

namespace wdelta::testing {

// SplitMix64. One thread at a time.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t mixed = state_ += 0x9E3779B97F4A7C15;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
    return mixed ^ (mixed >> 31);
  }
  // In [0, bound), which is not empty.
  uint64_t Below(uint64_t bound) { return Next() % bound; }
  // True once in so many calls; 0: never.
  bool OneIn(uint64_t calls) { return calls > 0 && Below(calls) == 0; }

 private:
  uint64_t state_;
};

}  // namespace wdelta::testing
