#include "storage/engine/compare/difference.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "storage/codec/lossy.h"
#include "storage/tensor/element_values.h"

namespace wdelta {
namespace {

constexpr size_t kNumbersAtOnce = 4096;

// Numbers one by one: for dtypes without a kernel, and for chunks that are not finite.
absl::Status AddNumbers(DType dtype, absl::string_view a, absl::string_view b, Difference& sums) {
  const size_t bytes_per_number = BytesPerNumber(dtype);
  std::vector<double> numbers_a;
  std::vector<double> numbers_b;
  while (!a.empty()) {
    const size_t part = std::min(a.size(), kNumbersAtOnce * bytes_per_number);
    numbers_a.resize(part / bytes_per_number);
    numbers_b.resize(numbers_a.size());
    WDELTA_RETURN_IF_ERROR(ReadNumbers(dtype, a.substr(0, part), absl::MakeSpan(numbers_a)));
    WDELTA_RETURN_IF_ERROR(ReadNumbers(dtype, b.substr(0, part), absl::MakeSpan(numbers_b)));
    for (size_t i = 0; i < numbers_a.size(); ++i) {
      const double from = numbers_a[i];
      if (std::isfinite(from)) sums.squared_norm += from * from;
      const size_t at = i * bytes_per_number;
      if (a.substr(at, bytes_per_number) == b.substr(at, bytes_per_number)) continue;
      const double change = numbers_b[i] - from;
      if (change == 0) continue;
      ++sums.changed;
      if (!std::isfinite(from) || !std::isfinite(numbers_b[i])) {
        ++sums.non_finite;
        continue;
      }
      sums.squared_change += change * change;
      sums.max_change = std::max(sums.max_change, std::abs(change));
    }
    a.remove_prefix(part);
    b.remove_prefix(part);
  }
  return absl::OkStatus();
}

}  // namespace

void Difference::Add(const Difference& other) {
  weights += other.weights;
  changed += other.changed;
  non_finite += other.non_finite;
  squared_norm += other.squared_norm;
  squared_change += other.squared_change;
  max_change = std::max(max_change, other.max_change);
}

std::optional<double> Difference::RelativeNorm() const {
  if (squared_change == 0) return 0;
  const double relative = std::sqrt(squared_change) / std::sqrt(squared_norm);
  if (squared_norm == 0 || !std::isfinite(squared_norm) || !std::isfinite(relative)) {
    return std::nullopt;
  }
  return relative;
}

absl::StatusOr<Difference> MeasureDifference(DType dtype, absl::string_view a,
                                             absl::string_view b) {
  const size_t bytes_per_number = BytesPerNumber(dtype);
  if (a.size() != b.size() || a.size() % bytes_per_number != 0) {
    return absl::InvalidArgumentError(absl::StrCat("difference of ", DTypeName(dtype), ": ",
                                                   a.size(), " and ", b.size(), " bytes"));
  }
  Difference sums;
  if (!HasNumbers(dtype)) return sums;
  sums.weights = a.size() / bytes_per_number;
  if (CanBeLossy(dtype)) {
    // The delta's target is `a`: its norm is the one that counts.
    WDELTA_ASSIGN_OR_RETURN(const DeltaMoments moments, MeasureDelta(dtype, a, b));
    if (moments.finite) {
      sums.changed = moments.changed;
      sums.squared_norm = moments.squared_target;
      sums.squared_change = moments.squared_delta;
      sums.max_change = moments.max_absolute_delta;
      return sums;
    }
  }
  WDELTA_RETURN_IF_ERROR(AddNumbers(dtype, a, b, sums));
  return sums;
}

}  // namespace wdelta
