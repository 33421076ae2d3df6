#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "storage/codec/kernels/lossy_sum_kernels.h"
#include "storage/codec/lossy.h"
#include "storage/codec/lossy_moments.h"

namespace wdelta {
namespace {

const uint8_t* Bytes(absl::string_view view) {
  return reinterpret_cast<const uint8_t*>(view.data());
}

}  // namespace

void DeltaMoments::Add(const DeltaMoments& other) {
  weights += other.weights;
  changed += other.changed;
  squared_delta += other.squared_delta;
  absolute_delta += other.absolute_delta;
  squared_target += other.squared_target;
  max_absolute_delta = std::max(max_absolute_delta, other.max_absolute_delta);
  finite = finite && other.finite;
}

void LossyOutcome::Add(const LossyOutcome& other) {
  weights += other.weights;
  squared_error += other.squared_error;
  squared_delta += other.squared_delta;
  delta_dot_output += other.delta_dot_output;
  altered += other.altered;
  max_absolute_error = std::max(max_absolute_error, other.max_absolute_error);
  bits += other.bits;
}

double LossyOutcome::RelativeError() const {
  return squared_delta > 0 ? std::sqrt(squared_error / squared_delta) : 0;
}

bool CanBeLossy(DType dtype) {
  return dtype == DType::kF16 || dtype == DType::kBF16 || dtype == DType::kF32 ||
         dtype == DType::kF64;
}

absl::Status CheckLossyInput(DType dtype, absl::string_view target, absl::string_view parent) {
  if (!CanBeLossy(dtype)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "dtype of a lossy tensor: expected F16, BF16, F32 or F64, found ", DTypeName(dtype)));
  }
  if (parent.size() != target.size()) {
    return absl::InvalidArgumentError(absl::StrCat("parent of a lossy chunk: expected ",
                                                   target.size(), " bytes, found ", parent.size()));
  }
  return absl::OkStatus();
}

DeltaMoments MomentsOfLanes(DType dtype, const uint8_t* target, const uint8_t* parent, size_t first,
                            size_t count) {
  return kernels::SumMoments(dtype, target, parent, first, count);
}

absl::StatusOr<DeltaMoments> MeasureDelta(DType dtype, absl::string_view target,
                                          absl::string_view parent) {
  WDELTA_RETURN_IF_ERROR(CheckLossyInput(dtype, target, parent));
  return MomentsOfLanes(dtype, Bytes(target), Bytes(parent), 0, target.size() / LaneBytes(dtype));
}

LossyOutcome MeasureOutcome(DType dtype, absl::string_view target, absl::string_view parent,
                            absl::string_view output) {
  return kernels::SumOutcome(dtype, Bytes(target), Bytes(parent), Bytes(output),
                             target.size() / LaneBytes(dtype));
}

}  // namespace wdelta
