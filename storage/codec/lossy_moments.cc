#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "storage/codec/kernels/real_lanes.h"
#include "storage/codec/lossy.h"
#include "storage/codec/lossy_moments.h"

namespace wdelta {
namespace {

// Sums that do not wait for each other; what is added up where depends on nothing but
// the position.
constexpr size_t kParallelSums = 8;

template <class Lanes>
DeltaMoments MomentsOf(const uint8_t* target, const uint8_t* parent, size_t first, size_t count) {
  double squared[kParallelSums] = {};
  double absolute[kParallelSums] = {};
  double squared_target[kParallelSums] = {};
  double largest[kParallelSums] = {};
  int64_t changed[kParallelSums] = {};
  const auto add = [&](size_t i, size_t s) {
    const auto t_lane = kernels::LoadLane<Lanes>(target, i);
    const auto p_lane = kernels::LoadLane<Lanes>(parent, i);
    const auto t = static_cast<double>(Lanes::ToReal(t_lane));
    const double delta = t - static_cast<double>(Lanes::ToReal(p_lane));
    const double magnitude = std::abs(delta);
    changed[s] += t_lane != p_lane ? 1 : 0;
    squared[s] += delta * delta;
    absolute[s] += magnitude;
    squared_target[s] += t * t;
    largest[s] = magnitude > largest[s] ? magnitude : largest[s];
  };
  size_t i = first;
  for (; i + kParallelSums <= first + count; i += kParallelSums) {
    for (size_t s = 0; s < kParallelSums; ++s) add(i + s, s);
  }
  for (; i < first + count; ++i) add(i, 0);
  DeltaMoments moments;
  moments.weights = count;
  for (size_t s = 0; s < kParallelSums; ++s) {
    moments.changed += static_cast<uint64_t>(changed[s]);
    moments.squared_delta += squared[s];
    moments.absolute_delta += absolute[s];
    moments.squared_target += squared_target[s];
    moments.max_absolute_delta = std::max(moments.max_absolute_delta, largest[s]);
  }
  // Infinities and NaNs spread through the sums; so do finite F64 whose squares overflow.
  moments.finite = std::isfinite(moments.squared_delta) && std::isfinite(moments.squared_target);
  return moments;
}

template <class Lanes>
LossyOutcome OutcomeOf(const uint8_t* target, const uint8_t* parent, const uint8_t* output,
                       size_t count) {
  double squared_error[kParallelSums] = {};
  double squared_delta[kParallelSums] = {};
  double product[kParallelSums] = {};
  double largest[kParallelSums] = {};
  int64_t altered[kParallelSums] = {};
  const auto add = [&](size_t i, size_t s) {
    const auto p_lane = kernels::LoadLane<Lanes>(parent, i);
    const auto o_lane = kernels::LoadLane<Lanes>(output, i);
    const auto t = static_cast<double>(kernels::LoadReal<Lanes>(target, i));
    const auto p = static_cast<double>(Lanes::ToReal(p_lane));
    const auto o = static_cast<double>(Lanes::ToReal(o_lane));
    const double error = o - t;
    const double magnitude = std::abs(error);
    squared_error[s] += error * error;
    squared_delta[s] += (t - p) * (t - p);
    product[s] += (t - p) * (o - p);
    altered[s] += p_lane != o_lane ? 1 : 0;
    largest[s] = magnitude > largest[s] ? magnitude : largest[s];
  };
  size_t i = 0;
  for (; i + kParallelSums <= count; i += kParallelSums) {
    for (size_t s = 0; s < kParallelSums; ++s) add(i + s, s);
  }
  for (; i < count; ++i) add(i, 0);
  LossyOutcome outcome;
  outcome.weights = count;
  for (size_t s = 0; s < kParallelSums; ++s) {
    outcome.squared_error += squared_error[s];
    outcome.squared_delta += squared_delta[s];
    outcome.delta_dot_output += product[s];
    outcome.altered += static_cast<uint64_t>(altered[s]);
    outcome.max_absolute_error = std::max(outcome.max_absolute_error, largest[s]);
  }
  return outcome;
}

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
  return kernels::WithRealLanes(
      dtype, [&](auto lanes) { return MomentsOf<decltype(lanes)>(target, parent, first, count); });
}

absl::StatusOr<DeltaMoments> MeasureDelta(DType dtype, absl::string_view target,
                                          absl::string_view parent) {
  WDELTA_RETURN_IF_ERROR(CheckLossyInput(dtype, target, parent));
  return MomentsOfLanes(dtype, Bytes(target), Bytes(parent), 0, target.size() / LaneBytes(dtype));
}

LossyOutcome MeasureOutcome(DType dtype, absl::string_view target, absl::string_view parent,
                            absl::string_view output) {
  return kernels::WithRealLanes(dtype, [&](auto lanes) {
    return OutcomeOf<decltype(lanes)>(Bytes(target), Bytes(parent), Bytes(output),
                                      target.size() / LaneBytes(dtype));
  });
}

}  // namespace wdelta
