// The bits that a coder which knows how often each symbol comes cannot do without. Pure; any
// thread.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace wdelta {

// Of all symbols together, by their counts.
inline double EntropyBits(const std::vector<uint32_t>& counts) {
  double total = 0;
  double bits = 0;
  for (const uint32_t n : counts) {
    if (n == 0) continue;
    total += n;
    bits -= n * std::log2(static_cast<double>(n));
  }
  return total == 0 ? 0 : bits + total * std::log2(total);
}

}  // namespace wdelta
