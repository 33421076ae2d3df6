// How far two runs of elements are apart. Pure functions; any thread.
//
// A weight is a number of a tensor: one an element, two of a C64. All is computed in
// double; integers are compared and subtracted as integers, as a double does not hold all of
// I64 and U64. A weight is changed when its value differs: -0 equals 0, and a NaN equals a NaN of
// the same bits only. Weights that are not finite (NaN, infinity) add nothing to a norm, and
// neither do changes from or to one: these are counted in `non_finite`.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/engine/compare/square_sum.h"
#include "storage/tensor/dtype.h"

namespace wdelta {

// Sums over parts of tensors. Parts are added in order of position, so that the same
// tensors give the same sums, whatever the number of threads.
struct Difference {
  uint64_t weights = 0;
  uint64_t changed = 0;
  uint64_t non_finite = 0;  // of the changed
  SquareSum norm;           // |a|
  SquareSum change;         // |b - a|
  double max_change = 0;    // max |b - a|, at most the largest double

  void Add(const Difference& other);

  // |b - a| / |a|; 0 without a change. nullopt where that is no number: a is zero, or a
  // changed weight is not finite.
  std::optional<double> RelativeNorm() const;
};

// Of the same run of `a` and `b`. Where HasNumbers(dtype) is false all is 0.
// INVALID_ARGUMENT when sizes differ or hold no whole number of weights.
absl::StatusOr<Difference> MeasureDifference(DType dtype, absl::string_view a, absl::string_view b);

}  // namespace wdelta
