// Which elements of a delta are the k largest by magnitude. Private to the room.
#pragma once

#include <bit>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "storage/wdelta/v1/v1_writer.h"

namespace wdelta::v1_format {

// The bits of a magnitude order as the magnitudes do.
inline uint32_t MagnitudeBits(float value) { return std::bit_cast<uint32_t>(value) & 0x7fffffff; }

// Elements above a threshold, and the first `ties` of those at it: exactly k.
struct LargestRule {
  uint32_t threshold_bits = 0xffffffff;
  uint64_t ties = 0;
};

// Finds the rule in two passes of counting: high, then low halves of the bits.
// Memory: two tables of 64 Ki counters. k is at most the number of elements.
absl::StatusOr<LargestRule> FindLargest(const V1Delta& delta, uint64_t k);

// Applies a rule to all elements in order, each once.
class LargestPicker {
 public:
  explicit LargestPicker(const LargestRule& rule) : rule_(rule) {}
  bool Take(float value) {
    const uint32_t bits = MagnitudeBits(value);
    if (bits != rule_.threshold_bits) return bits > rule_.threshold_bits;
    if (rule_.ties == 0) return false;
    --rule_.ties;
    return true;
  }

 private:
  LargestRule rule_;
};

inline constexpr size_t kValuesAtOnce = 64 * 1024;

// Calls `take` with every value in order.
template <typename Take>
absl::Status ForEachValue(const V1Delta& delta, Take take) {
  std::vector<float> values;
  const uint64_t count = delta.element_count();
  for (uint64_t first = 0; first < count; first += values.size()) {
    values.resize(count - first < kValuesAtOnce ? count - first : kValuesAtOnce);
    if (absl::Status status = delta.Read(first, absl::MakeSpan(values)); !status.ok()) {
      return status;
    }
    for (const float value : values) {
      if (absl::Status status = take(value); !status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

}  // namespace wdelta::v1_format
