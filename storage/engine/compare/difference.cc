#include "storage/engine/compare/difference.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "storage/codec/lossy.h"
#include "storage/tensor/element_values.h"

namespace wdelta {
namespace {

constexpr size_t kNumbersAtOnce = 4096;

// Of a weight that differs, both finite.
void AddChange(double from, double to, Difference& sums) {
  const double change = to - from;
  if (std::isfinite(change)) {
    sums.change.Add(change);
    sums.max_change = std::max(sums.max_change, std::fabs(change));
  } else {
    sums.change.AddDouble(to / 2 - from / 2);
    sums.max_change = std::numeric_limits<double>::max();
  }
}

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
      const double to = numbers_b[i];
      if (std::isfinite(from)) sums.norm.Add(from);
      const size_t at = i * bytes_per_number;
      if (a.substr(at, bytes_per_number) == b.substr(at, bytes_per_number)) continue;
      if (from == to) continue;
      ++sums.changed;
      if (std::isfinite(from) && std::isfinite(to)) {
        AddChange(from, to, sums);
      } else {
        ++sums.non_finite;
      }
    }
    a.remove_prefix(part);
    b.remove_prefix(part);
  }
  return absl::OkStatus();
}

// Of 64 bits, `Integer` as the dtype has them: the difference of two is exact before it
// becomes a double.
template <typename Integer>
void AddIntegers(absl::string_view a, absl::string_view b, Difference& sums) {
  for (size_t at = 0; at < a.size(); at += sizeof(Integer)) {
    Integer from = 0;
    Integer to = 0;
    std::memcpy(&from, a.data() + at, sizeof(from));
    std::memcpy(&to, b.data() + at, sizeof(to));
    sums.norm.Add(static_cast<double>(from));
    if (from == to) continue;
    ++sums.changed;
    const uint64_t distance = from < to ? static_cast<uint64_t>(to) - static_cast<uint64_t>(from)
                                        : static_cast<uint64_t>(from) - static_cast<uint64_t>(to);
    sums.change.Add(static_cast<double>(distance));
    sums.max_change = std::max(sums.max_change, static_cast<double>(distance));
  }
}

// Whether plain sums of squares can be trusted: those of F64 may have left the range of
// double, or lost what is below it.
bool AreSumsExact(DType dtype, const DeltaMoments& moments) {
  if (dtype != DType::kF64) return true;
  const auto is_inside = [](double sum) { return sum > 0x1p-900 && sum < 0x1p900; };
  return is_inside(moments.squared_target) &&
         (moments.changed == 0 || is_inside(moments.squared_delta));
}

}  // namespace

void Difference::Add(const Difference& other) {
  weights += other.weights;
  changed += other.changed;
  non_finite += other.non_finite;
  norm.Add(other.norm);
  change.Add(other.change);
  max_change = std::max(max_change, other.max_change);
}

std::optional<double> Difference::RelativeNorm() const {
  if (changed == 0) return 0;
  if (non_finite > 0 || norm.IsZero()) return std::nullopt;
  const double relative = change.NormOver(norm);
  if (!std::isfinite(relative)) return std::nullopt;
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
    if (moments.finite && AreSumsExact(dtype, moments)) {
      sums.changed = moments.changed;
      sums.norm = SquareSum::Of(moments.squared_target);
      sums.change = SquareSum::Of(moments.squared_delta);
      sums.max_change = moments.max_absolute_delta;
      return sums;
    }
  }
  if (dtype == DType::kI64) {
    AddIntegers<int64_t>(a, b, sums);
  } else if (dtype == DType::kU64) {
    AddIntegers<uint64_t>(a, b, sums);
  } else {
    WDELTA_RETURN_IF_ERROR(AddNumbers(dtype, a, b, sums));
  }
  return sums;
}

}  // namespace wdelta
