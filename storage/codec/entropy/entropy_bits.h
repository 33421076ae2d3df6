// The bits that a coder which knows how often each symbol comes cannot do without. Pure; any
// thread.
#pragma once

#include <cmath>
#include <cstdint>

namespace wdelta {

// Of all symbols together, by their counts, which are of type uint32_t.
template <class Counts>
double EntropyBits(const Counts& counts) {
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
