// The arithmetic of merges, number by number, in double. Pure functions; any thread.
//
// Linear: sum of share_i * source_i, where share_i = weight_i / sum of all weights; what is
//   equal in all sources stays as it is in the first.
// Task arithmetic (Ilharco et al. 2023, arXiv 2212.04089): base + scale * sum of
//   weight_i * delta_i, where delta_i = source_i - base.
// TIES (Yadav et al. 2023, arXiv 2306.01708): of each source's deltas the largest by
//   magnitude are kept; the sign of sum of weight_i * delta_i is elected; base + scale *
//   (sum of weight_i * delta_i / sum of weight_i) over the kept deltas that have it. Where
//   the sum is zero nothing is elected, and the base stays.
//
// Sums are taken in order of the sources. A source that equals the base has the delta 0,
// whether or not it is finite; where nothing changes the base stays, bit for bit. Sources of
// weight 0 are passed over. A delta that is NaN is never trimmed, and the result is NaN;
// so it is where infinities of both signs meet.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "store/v1/records.pb.h"

namespace wdelta {

using Numbers = absl::Span<const double>;

// Order of magnitudes, rounded to float32: a key is greater where the magnitude is, NaN
// above all. At most kMaxMagnitudeKey.
inline constexpr uint32_t kMaxMagnitudeKey = 0x7fffffff;
uint32_t MagnitudeKey(double number);

double DeltaOf(double source, double base);

// `models`: the base unless the method is LINEAR, then the sources; each as long as `merged`.
// `least_keys`: of TIES, by source: the MagnitudeKey of the least delta that is kept.
void MergeNumbers(const store::v1::MergeRecipe& recipe, absl::Span<const Numbers> models,
                  absl::Span<const uint32_t> least_keys, absl::Span<double> merged);

}  // namespace wdelta
