// Sums by Highway's vectors of doubles, the same additions on every instruction set.
#include "storage/codec/kernels/lossy_sum_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "storage/codec/kernels/real_lanes.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "storage/codec/kernels/lossy_sum_kernels.cc"
#include "hwy/foreach_target.h"
// foreach_target.h must come before highway.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wdelta::kernels {
namespace HWY_NAMESPACE {

// Lane i is added to sum i mod kSums; so each sum is one lane of a vector, or of several.
constexpr size_t kSums = 8;

struct MomentSums {
  double squared[kSums] = {}, absolute[kSums] = {}, squared_target[kSums] = {};
  double largest[kSums] = {}, changed[kSums] = {};
};

struct OutcomeSums {
  double squared_error[kSums] = {}, squared_delta[kSums] = {}, product[kSums] = {};
  double largest[kSums] = {}, altered[kSums] = {};
};

#if HWY_TARGET == HWY_SCALAR

template <class Lanes>
size_t AddMoments(const uint8_t*, const uint8_t*, size_t, MomentSums&) {
  return 0;
}
template <class Lanes>
size_t AddOutcomes(const uint8_t*, const uint8_t*, const uint8_t*, size_t, OutcomeSums&) {
  return 0;
}

#else

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::CappedTag<double, kSums>;
using V = hn::Vec<D>;

// Lanes [first, first + lanes of a vector) as doubles.
template <class Lanes>
HWY_INLINE V LoadDoubles(D d, const uint8_t* from, size_t first) {
  using Lane = typename Lanes::Lane;
  const uint8_t* const at = from + first * sizeof(Lane);
  if constexpr (sizeof(Lane) == 8) {
    const hn::Repartition<uint8_t, D> bytes;
    return hn::BitCast(d, hn::LoadU(bytes, at));
  } else {
    const hn::Rebind<float, D> df;
    float reals[kSums];
    for (size_t i = 0; i < hn::Lanes(d); ++i) reals[i] = LoadReal<Lanes>(at, i);
    return hn::PromoteTo(d, hn::LoadU(df, reals));
  }
}

template <>
HWY_INLINE V LoadDoubles<BF16Lanes>(D d, const uint8_t* from, size_t first) {
  const hn::Rebind<float, D> df;
  const hn::Rebind<uint32_t, D> du;
  const hn::Rebind<uint16_t, D> dn;
  HWY_ALIGN uint16_t lanes[kSums];
  std::memcpy(lanes, from + 2 * first, 2 * hn::Lanes(d));
  const auto bits = hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(dn, lanes)));
  return hn::PromoteTo(d, hn::BitCast(df, bits));
}

template <>
HWY_INLINE V LoadDoubles<F32Lanes>(D d, const uint8_t* from, size_t first) {
  const hn::Rebind<float, D> df;
  const hn::Repartition<uint8_t, decltype(df)> bytes;
  return hn::PromoteTo(d, hn::BitCast(df, hn::LoadU(bytes, from + 4 * first)));
}

// Groups of kSums lanes; returns how many lanes were done.
template <class Lanes>
size_t AddMoments(const uint8_t* target, const uint8_t* parent, size_t count, MomentSums& sums) {
  const D d;
  const size_t end = count / kSums * kSums;
  for (size_t lane = 0; lane < kSums; lane += hn::Lanes(d)) {
    auto squared = hn::Zero(d), absolute = hn::Zero(d), squared_target = hn::Zero(d);
    auto largest = hn::Zero(d), changed = hn::Zero(d);
    const auto one = hn::Set(d, 1.0);
    for (size_t i = lane; i < end; i += kSums) {
      const auto t = LoadDoubles<Lanes>(d, target, i);
      const auto delta = hn::Sub(t, LoadDoubles<Lanes>(d, parent, i));
      const auto magnitude = hn::Abs(delta);
      squared = hn::Add(squared, hn::Mul(delta, delta));
      absolute = hn::Add(absolute, magnitude);
      squared_target = hn::Add(squared_target, hn::Mul(t, t));
      largest = hn::Max(largest, magnitude);
      changed = hn::Add(changed, hn::IfThenZeroElse(hn::Eq(magnitude, hn::Zero(d)), one));
    }
    hn::StoreU(squared, d, sums.squared + lane), hn::StoreU(absolute, d, sums.absolute + lane);
    hn::StoreU(squared_target, d, sums.squared_target + lane);
    hn::StoreU(largest, d, sums.largest + lane), hn::StoreU(changed, d, sums.changed + lane);
  }
  return end;
}

template <class Lanes>
size_t AddOutcomes(const uint8_t* target, const uint8_t* parent, const uint8_t* output,
                   size_t count, OutcomeSums& sums) {
  const D d;
  const size_t end = count / kSums * kSums;
  for (size_t lane = 0; lane < kSums; lane += hn::Lanes(d)) {
    auto squared_error = hn::Zero(d), squared_delta = hn::Zero(d), product = hn::Zero(d);
    auto largest = hn::Zero(d), altered = hn::Zero(d);
    const auto one = hn::Set(d, 1.0);
    for (size_t i = lane; i < end; i += kSums) {
      const auto t = LoadDoubles<Lanes>(d, target, i);
      const auto p = LoadDoubles<Lanes>(d, parent, i);
      const auto o = LoadDoubles<Lanes>(d, output, i);
      const auto delta = hn::Sub(t, p);
      const auto error = hn::Sub(o, t);
      squared_error = hn::Add(squared_error, hn::Mul(error, error));
      squared_delta = hn::Add(squared_delta, hn::Mul(delta, delta));
      product = hn::Add(product, hn::Mul(delta, hn::Sub(o, p)));
      largest = hn::Max(largest, hn::Abs(error));
      altered = hn::Add(altered, hn::IfThenZeroElse(hn::Eq(o, p), one));
    }
    hn::StoreU(squared_error, d, sums.squared_error + lane);
    hn::StoreU(squared_delta, d, sums.squared_delta + lane);
    hn::StoreU(product, d, sums.product + lane);
    hn::StoreU(largest, d, sums.largest + lane), hn::StoreU(altered, d, sums.altered + lane);
  }
  return end;
}

#endif  // HWY_TARGET == HWY_SCALAR

template <class Lanes>
DeltaMoments MomentsOf(const uint8_t* target, const uint8_t* parent, size_t count) {
  MomentSums sums;
  for (size_t i = AddMoments<Lanes>(target, parent, count, sums); i < count; ++i) {
    const size_t s = i % kSums;
    const auto t = static_cast<double>(LoadReal<Lanes>(target, i));
    const double delta = t - static_cast<double>(LoadReal<Lanes>(parent, i));
    sums.squared[s] += delta * delta;
    sums.absolute[s] += std::abs(delta);
    sums.squared_target[s] += t * t;
    sums.largest[s] = std::max(sums.largest[s], std::abs(delta));
    sums.changed[s] += delta != 0 ? 1 : 0;
  }
  DeltaMoments moments;
  moments.weights = count;
  for (size_t s = 0; s < kSums; ++s) {
    moments.changed += static_cast<uint64_t>(sums.changed[s]);
    moments.squared_delta += sums.squared[s];
    moments.absolute_delta += sums.absolute[s];
    moments.squared_target += sums.squared_target[s];
    moments.max_absolute_delta = std::max(moments.max_absolute_delta, sums.largest[s]);
  }
  // Infinities and NaNs spread through the sums; so do finite F64 whose squares overflow.
  moments.finite = std::isfinite(moments.squared_delta) && std::isfinite(moments.squared_target);
  return moments;
}

template <class Lanes>
LossyOutcome OutcomeOf(const uint8_t* target, const uint8_t* parent, const uint8_t* output,
                       size_t count) {
  OutcomeSums sums;
  for (size_t i = AddOutcomes<Lanes>(target, parent, output, count, sums); i < count; ++i) {
    const size_t s = i % kSums;
    const auto t = static_cast<double>(LoadReal<Lanes>(target, i));
    const auto p = static_cast<double>(LoadReal<Lanes>(parent, i));
    const auto o = static_cast<double>(LoadReal<Lanes>(output, i));
    sums.squared_error[s] += (o - t) * (o - t);
    sums.squared_delta[s] += (t - p) * (t - p);
    sums.product[s] += (t - p) * (o - p);
    sums.largest[s] = std::max(sums.largest[s], std::abs(o - t));
    sums.altered[s] += o != p ? 1 : 0;
  }
  LossyOutcome outcome;
  outcome.weights = count;
  for (size_t s = 0; s < kSums; ++s) {
    outcome.squared_error += sums.squared_error[s];
    outcome.squared_delta += sums.squared_delta[s];
    outcome.delta_dot_output += sums.product[s];
    outcome.altered += static_cast<uint64_t>(sums.altered[s]);
    outcome.max_absolute_error = std::max(outcome.max_absolute_error, sums.largest[s]);
  }
  return outcome;
}

DeltaMoments SumMomentsSimd(DType dtype, const uint8_t* target, const uint8_t* parent,
                            size_t count) {
  switch (dtype) {
    case DType::kF16:
      return MomentsOf<F16Lanes>(target, parent, count);
    case DType::kBF16:
      return MomentsOf<BF16Lanes>(target, parent, count);
    case DType::kF32:
      return MomentsOf<F32Lanes>(target, parent, count);
    default:
      return MomentsOf<F64Lanes>(target, parent, count);
  }
}

LossyOutcome SumOutcomeSimd(DType dtype, const uint8_t* target, const uint8_t* parent,
                            const uint8_t* output, size_t count) {
  switch (dtype) {
    case DType::kF16:
      return OutcomeOf<F16Lanes>(target, parent, output, count);
    case DType::kBF16:
      return OutcomeOf<BF16Lanes>(target, parent, output, count);
    case DType::kF32:
      return OutcomeOf<F32Lanes>(target, parent, output, count);
    default:
      return OutcomeOf<F64Lanes>(target, parent, output, count);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace wdelta::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wdelta::kernels {
namespace {
HWY_EXPORT(SumMomentsSimd);
HWY_EXPORT(SumOutcomeSimd);
}  // namespace

DeltaMoments SumMoments(DType dtype, const uint8_t* target, const uint8_t* parent, size_t first,
                        size_t count) {
  const size_t offset = first * static_cast<size_t>(LaneBytes(dtype));
  return HWY_DYNAMIC_DISPATCH(SumMomentsSimd)(dtype, target + offset, parent + offset, count);
}

LossyOutcome SumOutcome(DType dtype, const uint8_t* target, const uint8_t* parent,
                        const uint8_t* output, size_t count) {
  return HWY_DYNAMIC_DISPATCH(SumOutcomeSimd)(dtype, target, parent, output, count);
}

}  // namespace wdelta::kernels
#endif  // HWY_ONCE
