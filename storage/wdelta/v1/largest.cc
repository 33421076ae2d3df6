#include "storage/wdelta/v1/largest.h"

#include <vector>

#include "storage/base/status_macros.h"

namespace wdelta::v1_format {
namespace {

constexpr int kHalfBits = 16;
constexpr size_t kBuckets = size_t{1} << kHalfBits;

// The highest bucket at which the counts from above reach `k`, which is at least 1;
// takes the counts above it from `k`.
size_t FindBucket(const std::vector<uint64_t>& counts, uint64_t& k) {
  size_t bucket = kBuckets - 1;
  while (bucket > 0 && counts[bucket] < k) k -= counts[bucket--];
  return bucket;
}

}  // namespace

absl::StatusOr<LargestRule> FindLargest(const V1Delta& delta, uint64_t k) {
  if (k == 0) return LargestRule{};
  std::vector<uint64_t> counts(kBuckets, 0);
  WDELTA_RETURN_IF_ERROR(ForEachValue(delta, [&](float value) {
    ++counts[MagnitudeBits(value) >> kHalfBits];
    return absl::OkStatus();
  }));
  const size_t high = FindBucket(counts, k);
  counts.assign(kBuckets, 0);
  WDELTA_RETURN_IF_ERROR(ForEachValue(delta, [&](float value) {
    const uint32_t bits = MagnitudeBits(value);
    if (bits >> kHalfBits == high) ++counts[bits & (kBuckets - 1)];
    return absl::OkStatus();
  }));
  const size_t low = FindBucket(counts, k);
  return LargestRule{static_cast<uint32_t>(high << kHalfBits | low), k};
}

}  // namespace wdelta::v1_format
