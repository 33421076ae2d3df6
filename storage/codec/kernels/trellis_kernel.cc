// SIMD search of the trellis: the arithmetic of portable_trellis_kernel.cc, operation
// by operation, for a vector of lanes at once. Costs of the states stay in registers.
#include <cstring>

#include "storage/codec/kernels/quantise_kernels.h"
#include "storage/codec/kernels/real_lanes.h"
#include "storage/codec/kernels/trellis_model.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "storage/codec/kernels/trellis_kernel.cc"
#include "hwy/foreach_target.h"
// foreach_target.h must come before highway.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wdelta::kernels {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR

bool SearchSimd(DType, const Reconstruction&, const RateModel&, const uint8_t*, const uint8_t*,
                size_t, TrellisScratch&, uint8_t*) {
  return false;
}

#else

namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::ScalableTag<float>;
using DI = hn::RebindToSigned<DF>;
using DU = hn::RebindToUnsigned<DF>;
using VF = hn::Vec<DF>;
using VI = hn::Vec<DI>;

// Rounds to the values of the dtype, as Lanes::ToReal(Lanes::FromReal(x)).
template <class Lanes>
HWY_INLINE VF RoundToLanes(DF d, VF real) {
  const DU du;
  const auto bits = hn::BitCast(du, real);
  if constexpr (sizeof(typename Lanes::Lane) == 4) {
    return real;
  } else if constexpr (Lanes::kMantissaBits == 7) {
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
    const auto sum = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fffu)));
    return hn::BitCast(d, hn::And(sum, hn::Set(du, 0xffff0000u)));
  } else {
    const auto magnitude = hn::And(bits, hn::Set(du, 0x7fffffffu));
    const auto odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(du, 1u));
    const auto sum = hn::Add(magnitude, hn::Add(odd, hn::Set(du, 0xfffu)));
    const auto normal = hn::BitCast(d, hn::And(sum, hn::Set(du, 0xffffe000u)));
    const auto half = hn::Set(d, 0.5f);
    const auto denormal = hn::Sub(hn::Add(hn::BitCast(d, magnitude), half), half);
    const auto is_small = hn::Lt(hn::BitCast(d, magnitude), hn::Set(d, 0x1p-14f));
    const auto is_large = hn::Ge(hn::BitCast(d, magnitude), hn::Set(d, 65520.0f));
    auto rounded = hn::IfThenElse(is_small, denormal, normal);
    rounded = hn::IfThenElse(is_large, hn::BitCast(d, hn::Set(du, 0x7f800000u)), rounded);
    return hn::Or(rounded, hn::BitCast(d, hn::And(bits, hn::Set(du, 0x80000000u))));
  }
}

struct Weights {
  VF target, parent;
  VF sign;  // of the delta
  VF scaled;
  hn::Mask<DF> unchanged;
};

struct Candidate {
  VF cost;
  VI symbol;
};

struct Model {
  DF d;
  VF step, inverse, linear, quadratic, nonzero, half_less_bias, offsets;
  VF zero_border[2];
  VF ordinary_steps;  // deltas below it have an index, none when steps are large
};

// With deltas of at most 4 * kMaxIndex ordinary steps it stays within every dtype.
constexpr float kOrdinaryWeight = 1e4f;
constexpr float kOrdinaryStep = 64;

// kOrdinary: no index is too large and no sum leaves the dtype's range.
template <class Lanes, bool kOrdinary, int kNumber>
HWY_INLINE Candidate MakeCandidate(const Model& model, const Weights& weights) {
  constexpr int kBase = kBaseMagnitude[kNumber];
  constexpr int kQuantiser = kNumber >> 1;
  constexpr bool kOdd = (kNumber & 1) != 0;
  const DF d;
  const DI di;
  const auto zero = hn::Zero(d);
  const auto fours =
      hn::Add(hn::Mul(hn::Sub(weights.scaled, hn::Set(d, float{kBase})), hn::Set(d, 0.25f)),
              model.half_less_bias);
  auto m = hn::Add(hn::ShiftLeft<2>(hn::ConvertTo(di, hn::Max(fours, zero))), hn::Set(di, kBase));
  if (!kOdd) {
    const auto small = hn::Lt(weights.scaled, model.zero_border[kQuantiser]);
    m = hn::IfThenZeroElse(hn::RebindMask(di, small), m);
  }
  const auto index = hn::ShiftRight<1>(hn::Add(m, hn::Set(di, kQuantiser)));
  const auto points = hn::IndicesFromVec(d, hn::Min(m, hn::Set(di, kPoints)));
  const auto reduced = hn::Sub(hn::ConvertTo(d, m), hn::TableLookupLanes(model.offsets, points));
  const auto value = hn::Xor(hn::Mul(model.step, reduced), weights.sign);
  const auto rounded = RoundToLanes<Lanes>(d, hn::Add(weights.parent, value));
  const auto is_zero = hn::Eq(index, hn::Zero(di));
  const auto is_zero_real = hn::RebindMask(d, is_zero);
  const auto output = hn::IfThenElse(is_zero_real, weights.parent, rounded);
  const auto error = hn::Mul(hn::Sub(weights.target, output), model.inverse);
  const auto k = hn::ConvertTo(d, index);
  const auto rate = hn::Add(hn::Mul(k, hn::Add(model.linear, hn::Mul(k, model.quadratic))),
                            hn::IfThenZeroElse(is_zero_real, model.nonzero));
  const auto cost = hn::Add(hn::Mul(error, error), rate);
  // Negative deltas: one less, unless the index is 0.
  const auto below =
      hn::IfThenZeroElse(is_zero, hn::BroadcastSignBit(hn::BitCast(di, weights.sign)));
  const auto symbol = hn::Add(hn::Add(index, index), below);
  if constexpr (kOrdinary) {
    if (!kOdd) return {cost, symbol};
    return {hn::IfThenElse(weights.unchanged, hn::Set(d, kImpossibleCost), cost), symbol};
  }
  const auto is_possible =
      hn::And(hn::Lt(cost, hn::Set(d, kImpossibleCost)), hn::Le(k, hn::Set(d, float{kMaxIndex})));
  if (kOdd) {
    const auto possible = hn::AndNot(weights.unchanged, is_possible);
    return {hn::IfThenElse(possible, cost, hn::Set(d, kImpossibleCost)), symbol};
  }
  return {hn::IfThenElse(is_possible, cost, hn::Set(d, kEscapeCost)),
          hn::IfThenElse(hn::RebindMask(di, is_possible), symbol, hn::Set(di, kEscapedSymbol))};
}

// The cheaper way into state kNext, and its bit where that is from the higher state.
template <int kNext>
HWY_INLINE VF Select(VF low, VF low_cost, VF high, VF high_cost, VI& chosen) {
  const DF d;
  const DI di;
  const auto from_low = hn::Add(low, low_cost);
  const auto from_high = hn::Add(high, high_cost);
  const auto is_high = hn::Lt(from_high, from_low);
  chosen = hn::Or(chosen, hn::IfThenElseZero(hn::RebindMask(di, is_high), hn::Set(di, 1 << kNext)));
  (void)d;
  return hn::IfThenElse(is_high, from_high, from_low);
}

template <class Lanes>
HWY_INLINE VF LoadReals(DF d, const uint8_t* from) {
  using Lane = typename Lanes::Lane;
  const hn::Rebind<Lane, DF> dn;
  const hn::Repartition<uint8_t, decltype(dn)> bytes;
  if constexpr (sizeof(Lane) == 4) {
    return hn::BitCast(d, hn::LoadU(bytes, from));
  } else if constexpr (Lanes::kMantissaBits == 7) {
    const auto lanes = hn::BitCast(dn, hn::LoadU(bytes, from));
    return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(DU(), lanes)));
  } else {
    HWY_ALIGN float reals[HWY_MAX_BYTES / 4];
    for (size_t i = 0; i < hn::Lanes(d); ++i) reals[i] = LoadReal<Lanes>(from, i);
    return hn::Load(d, reals);
  }
}

struct States {
  VF s0, s1, s2, s3, s4, s5, s6, s7;  // the least cost of each so far
};

// One step of a vector of lanes. Writes the symbols of the four candidates of each lane
// side by side, and a bit for each state.
template <class Lanes, bool kOrdinary>
HWY_INLINE States Step(const Model& model, const Weights& w, const States& s, uint8_t* candidates,
                       uint8_t* decisions) {
  const DI di;
  const hn::Repartition<uint8_t, DI> bytes;
  const hn::Rebind<uint8_t, DF> d8;
  const Candidate c0 = MakeCandidate<Lanes, kOrdinary, 0>(model, w);
  const Candidate c1 = MakeCandidate<Lanes, kOrdinary, 1>(model, w);
  const Candidate c2 = MakeCandidate<Lanes, kOrdinary, 2>(model, w);
  const Candidate c3 = MakeCandidate<Lanes, kOrdinary, 3>(model, w);
  const auto low = hn::Or(c0.symbol, hn::ShiftLeft<8>(c1.symbol));
  const auto high = hn::Or(c2.symbol, hn::ShiftLeft<8>(c3.symbol));
  hn::StoreU(hn::BitCast(bytes, hn::Or(low, hn::ShiftLeft<16>(high))), bytes, candidates);

  VI chosen = hn::Zero(di);
  const States next{Select<0>(s.s0, c0.cost, s.s4, c1.cost, chosen),
                    Select<1>(s.s0, c1.cost, s.s4, c0.cost, chosen),
                    Select<2>(s.s1, c3.cost, s.s5, c2.cost, chosen),
                    Select<3>(s.s1, c2.cost, s.s5, c3.cost, chosen),
                    Select<4>(s.s2, c1.cost, s.s6, c0.cost, chosen),
                    Select<5>(s.s2, c0.cost, s.s6, c1.cost, chosen),
                    Select<6>(s.s3, c2.cost, s.s7, c3.cost, chosen),
                    Select<7>(s.s3, c3.cost, s.s7, c2.cost, chosen)};
  hn::StoreU(hn::DemoteTo(d8, chosen), d8, decisions);
  return next;
}

// All steps of the lanes from `lane` on that fill a vector; the last costs of their
// states go to `costs`. Sources are whole groups of lanes.
template <class Lanes>
HWY_INLINE void ForwardPass(const Model& model, const uint8_t* target, const uint8_t* parent,
                            size_t first_step, size_t steps, size_t lane, TrellisScratch& scratch,
                            float (&costs)[kTrellisStates][kTrellisLanes]) {
  const DF d;
  States states{hn::LoadU(d, costs[0] + lane), hn::LoadU(d, costs[1] + lane),
                hn::LoadU(d, costs[2] + lane), hn::LoadU(d, costs[3] + lane),
                hn::LoadU(d, costs[4] + lane), hn::LoadU(d, costs[5] + lane),
                hn::LoadU(d, costs[6] + lane), hn::LoadU(d, costs[7] + lane)};
  for (size_t t = 0; t < steps; ++t) {
    const size_t at = (t * kTrellisLanes + lane) * sizeof(typename Lanes::Lane);
    Weights w;
    w.target = LoadReals<Lanes>(d, target + at);
    w.parent = LoadReals<Lanes>(d, parent + at);
    const auto delta = hn::Sub(w.target, w.parent);
    const auto magnitude = hn::Abs(delta);
    w.unchanged = hn::Eq(magnitude, hn::Zero(d));
    w.sign = hn::And(delta, hn::SignBit(d));
    w.scaled = hn::Min(hn::Mul(magnitude, model.inverse), hn::Set(d, kMostSteps));
    const size_t place = (first_step + t) * kTrellisLanes + lane;
    uint8_t* const candidates = scratch.candidates.data() + 4 * place;
    uint8_t* const decisions = scratch.decisions.data() + place;
    const auto ordinary = hn::And(hn::Lt(w.scaled, model.ordinary_steps),
                                  hn::Lt(hn::Abs(w.parent), hn::Set(d, kOrdinaryWeight)));
    if (HWY_LIKELY(hn::AllTrue(d, ordinary))) {
      states = Step<Lanes, true>(model, w, states, candidates, decisions);
    } else {
      states = Step<Lanes, false>(model, w, states, candidates, decisions);
    }
  }
  hn::StoreU(states.s0, d, costs[0] + lane), hn::StoreU(states.s1, d, costs[1] + lane);
  hn::StoreU(states.s2, d, costs[2] + lane), hn::StoreU(states.s3, d, costs[3] + lane);
  hn::StoreU(states.s4, d, costs[4] + lane), hn::StoreU(states.s5, d, costs[5] + lane);
  hn::StoreU(states.s6, d, costs[6] + lane), hn::StoreU(states.s7, d, costs[7] + lane);
}

// From the states at the end to the symbols of every step.
void TraceBack(const uint8_t* last_states, size_t steps, const TrellisScratch& scratch,
               uint8_t* symbols) {
  const hn::ScalableTag<uint8_t> d;
  HWY_ALIGN static constexpr uint8_t kBit[16] = {1, 2, 4, 8, 16, 32, 64, 128,
                                                 1, 2, 4, 8, 16, 32, 64, 128};
  HWY_ALIGN static constexpr uint8_t kHalf[16] = {0, 0, 1, 1, 2, 2, 3, 3, 0, 0, 1, 1, 2, 2, 3, 3};
  HWY_ALIGN static constexpr uint8_t kParity[16] = {0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1};
  const auto bit = hn::LoadDup128(d, kBit);
  const auto half = hn::LoadDup128(d, kHalf);
  const auto parity = hn::LoadDup128(d, kParity);
  const auto one = hn::Set(d, uint8_t{1});
  const auto zero = hn::Zero(d);
  for (size_t lane = 0; lane < kTrellisLanes; lane += hn::Lanes(d)) {
    auto state = hn::LoadU(d, last_states + lane);
    for (size_t t = steps; t-- > 0;) {
      const size_t at = t * kTrellisLanes + lane;
      const auto decisions = hn::LoadU(d, scratch.decisions.data() + at);
      const auto is_low = hn::Eq(hn::And(decisions, hn::TableLookupBytes(bit, state)), zero);
      const auto from = hn::Or(hn::TableLookupBytes(half, state),
                               hn::IfThenZeroElse(is_low, hn::Set(d, uint8_t{4})));
      const auto odd = hn::And(hn::Xor(state, hn::TableLookupBytes(parity, from)), one);
      const auto is_even = hn::Eq(odd, zero);
      const auto is_first = hn::Eq(hn::And(from, one), zero);
      hn::Vec<decltype(d)> c0, c1, c2, c3;
      hn::LoadInterleaved4(d, scratch.candidates.data() + 4 * at, c0, c1, c2, c3);
      const auto first = hn::IfThenElse(is_even, c0, c1);
      const auto second = hn::IfThenElse(is_even, c2, c3);
      hn::StoreU(hn::IfThenElse(is_first, first, second), d, symbols + at);
      state = from;
    }
  }
}

template <class Lanes>
bool SearchVectors(const Reconstruction& reconstruction, const RateModel& rate,
                   const uint8_t* target, const uint8_t* parent, size_t count,
                   TrellisScratch& scratch, uint8_t* symbols) {
  constexpr size_t kGroupBytes = kTrellisLanes * sizeof(typename Lanes::Lane);
  const DF d;
  if (hn::Lanes(d) < kPoints + 1 || hn::Lanes(d) > kTrellisLanes) return false;
  const TrellisModel<float> plain(reconstruction, rate);
  // Room for all of them on targets of small vectors too.
  HWY_ALIGN float offsets[HWY_MAX_BYTES / 4 + sizeof(plain.offset) / sizeof(float)] = {};
  std::memcpy(offsets, plain.offset, sizeof(plain.offset));
  const Model model{d,
                    hn::Set(d, plain.step),
                    hn::Set(d, plain.inverse),
                    hn::Set(d, plain.linear),
                    hn::Set(d, plain.quadratic),
                    hn::Set(d, plain.nonzero),
                    hn::Set(d, 0.5f - plain.bias),
                    hn::Load(d, offsets),
                    {hn::Set(d, plain.zero_border[0]), hn::Set(d, plain.zero_border[1])},
                    hn::Set(d, plain.step < kOrdinaryStep ? 2.0f * kMaxIndex - 8 : 0)};
  const size_t whole_steps = count / kTrellisLanes;
  const size_t rest = count % kTrellisLanes;
  scratch.Reserve(whole_steps + 1);
  float costs[kTrellisStates][kTrellisLanes];
  for (int s = 0; s < kTrellisStates; ++s) {
    for (float& cost : costs[s]) cost = s == 0 ? 0 : kImpossibleCost;
  }
  // The last step, filled up with weights that are zero and unchanged.
  uint8_t last_target[kGroupBytes] = {};
  uint8_t last_parent[kGroupBytes] = {};
  const size_t rest_bytes = rest * sizeof(typename Lanes::Lane);
  std::memcpy(last_target, target + whole_steps * kGroupBytes, rest_bytes);
  std::memcpy(last_parent, parent + whole_steps * kGroupBytes, rest_bytes);
  for (size_t lane = 0; lane < kTrellisLanes; lane += hn::Lanes(d)) {
    ForwardPass<Lanes>(model, target, parent, 0, whole_steps, lane, scratch, costs);
    if (rest == 0) continue;
    ForwardPass<Lanes>(model, last_target, last_parent, whole_steps, 1, lane, scratch, costs);
  }
  uint8_t last_states[kTrellisLanes];
  for (size_t i = 0; i < kTrellisLanes; ++i) {
    int best = 0;
    for (int s = 1; s < kTrellisStates; ++s) best = costs[s][i] < costs[best][i] ? s : best;
    last_states[i] = static_cast<uint8_t>(best);
  }
  TraceBack(last_states, whole_steps + (rest == 0 ? 0 : 1), scratch, symbols);
  return true;
}

bool SearchSimd(DType dtype, const Reconstruction& reconstruction, const RateModel& rate,
                const uint8_t* target, const uint8_t* parent, size_t count, TrellisScratch& scratch,
                uint8_t* symbols) {
  switch (dtype) {
    case DType::kF16:
      return SearchVectors<F16Lanes>(reconstruction, rate, target, parent, count, scratch, symbols);
    case DType::kBF16:
      return SearchVectors<BF16Lanes>(reconstruction, rate, target, parent, count, scratch,
                                      symbols);
    case DType::kF32:
      return SearchVectors<F32Lanes>(reconstruction, rate, target, parent, count, scratch, symbols);
    default:
      return false;
  }
}

#endif  // HWY_TARGET == HWY_SCALAR

}  // namespace HWY_NAMESPACE
}  // namespace wdelta::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wdelta::kernels {
namespace {
HWY_EXPORT(SearchSimd);
}  // namespace

void QuantiseTrellis(DType dtype, const Reconstruction& reconstruction, const RateModel& rate,
                     const uint8_t* target, const uint8_t* parent, size_t count,
                     TrellisScratch& scratch, uint8_t* symbols) {
  if (HWY_DYNAMIC_DISPATCH(SearchSimd)(dtype, reconstruction, rate, target, parent, count, scratch,
                                       symbols)) {
    return;
  }
  portable::QuantiseTrellis(dtype, reconstruction, rate, target, parent, count, scratch, symbols);
}

}  // namespace wdelta::kernels
#endif  // HWY_ONCE
