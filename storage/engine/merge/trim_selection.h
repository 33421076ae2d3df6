// The exact least magnitude among the `keep` largest of a tensor's deltas, in two passes over
// the deltas and bounded memory: a radix selection over the bits of float32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace wdelta {

// One selection; one thread at a time. Pass 1 counts keys by their upper bits, pass 2 those
// that are in the bucket found by their lower bits.
class TrimSelection {
 public:
  // Buckets of a pass; enough for both.
  static constexpr size_t kBuckets = size_t{1} << 16;

  // Deltas that are kept of `count`: to the nearest, and one at least.
  static uint64_t KeptOf(uint64_t count, double density);

  // `keep`: at least 1, at most the number of keys that will be counted.
  explicit TrimSelection(uint64_t keep) : keep_left_(keep), counts_(kBuckets, 0) {}

  // Counts a key of the present pass in `counts`, of kBuckets. Any thread, between passes.
  void Count(uint32_t key, absl::Span<uint32_t> counts) const {
    if (pass_ == 1) {
      ++counts[key >> kLowBits];
    } else if (key >> kLowBits == upper_) {
      ++counts[key & kLowMask];
    }
  }
  // Adds what was counted.
  void Add(absl::Span<const uint32_t> counts);
  void EndPass();

  // After both passes.
  uint32_t least_key() const { return upper_ << kLowBits | lower_; }

 private:
  static constexpr int kLowBits = 16;
  static constexpr uint32_t kLowMask = (uint32_t{1} << kLowBits) - 1;

  int pass_ = 1;
  uint32_t upper_ = 0;
  uint32_t lower_ = 0;
  uint64_t keep_left_;
  std::vector<uint64_t> counts_;
};

}  // namespace wdelta
