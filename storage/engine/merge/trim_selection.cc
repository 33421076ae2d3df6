#include "storage/engine/merge/trim_selection.h"

#include <algorithm>
#include <cmath>

namespace wdelta {

uint64_t TrimSelection::KeptOf(uint64_t count, double density) {
  const double kept = std::round(density * static_cast<double>(count));
  return std::clamp<uint64_t>(static_cast<uint64_t>(kept), 1, std::max<uint64_t>(count, 1));
}

void TrimSelection::Add(absl::Span<const uint32_t> counts) {
  for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += counts[i];
}

void TrimSelection::EndPass() {
  size_t bucket = kBuckets - 1;
  while (bucket > 0 && counts_[bucket] < keep_left_) keep_left_ -= counts_[bucket--];
  (pass_ == 1 ? upper_ : lower_) = static_cast<uint32_t>(bucket);
  std::fill(counts_.begin(), counts_.end(), 0);
  ++pass_;
}

}  // namespace wdelta
