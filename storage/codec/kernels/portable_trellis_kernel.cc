// Viterbi search over the trellis of trellis-coded quantisation (M. Marcellin and T.
// Fischer, "Trellis coded quantization of memoryless and Gauss-Markov sources", 1990;
// eight states with two union quantisers as in JPEG 2000 part 2).
#include <cstring>

#include "storage/codec/kernels/quantise_kernels.h"
#include "storage/codec/kernels/real_lanes.h"
#include "storage/codec/kernels/trellis_model.h"

namespace wdelta::kernels::portable {
namespace {

// The candidates of one step of all lanes.
template <typename Real>
struct TrellisStep {
  Real cost[4][kTrellisLanes];
  uint8_t symbol[4][kTrellisLanes];
};

template <class Lanes, typename Real = typename Lanes::Real>
void FillCandidate(const TrellisModel<Real>& model, int number, const Real* target,
                   const Real* parent, TrellisStep<Real>& step) {
  const int base = kBaseMagnitude[number];
  const int quantiser = number >> 1;
  const bool odd = (number & 1) != 0;
  for (size_t i = 0; i < kTrellisLanes; ++i) {
    const Real delta = target[i] - parent[i];
    const Real magnitude = delta < 0 ? -delta : delta;
    Real scaled = magnitude * model.inverse;
    scaled = scaled < Real(kMostSteps) ? scaled : Real(kMostSteps);
    const Real fours = (scaled - Real(base)) * Real(0.25) + (Real(0.5) - model.bias);
    int32_t m = 4 * static_cast<int32_t>(fours > 0 ? fours : Real(0)) + base;
    if (!odd && scaled < model.zero_border[quantiser]) m = 0;
    const int32_t index = (m + quantiser) >> 1;
    const Real value = model.step * (Real(m) - model.offset[m < kPoints ? m : kPoints]);
    const Real rounded = Lanes::ToReal(Lanes::FromReal(parent[i] + (delta < 0 ? -value : value)));
    const Real error = (target[i] - (index == 0 ? parent[i] : rounded)) * model.inverse;
    const Real rate = Real(index) * (model.linear + Real(index) * model.quadratic) +
                      (index == 0 ? Real(0) : model.nonzero);
    const Real cost = error * error + rate;
    const bool fails = index > kMaxIndex || !(cost < Real(kImpossibleCost));
    const int32_t symbol = 2 * index - (index != 0 && delta < 0 ? 1 : 0);
    if (odd) {
      step.cost[number][i] = fails || magnitude == 0 ? Real(kImpossibleCost) : cost;
      step.symbol[number][i] = static_cast<uint8_t>(symbol);
    } else {
      step.cost[number][i] = fails ? Real(kEscapeCost) : cost;
      step.symbol[number][i] = fails ? kEscapedSymbol : static_cast<uint8_t>(symbol);
    }
  }
}

// One step of add, compare, select: costs of the states before to those after.
template <typename Real>
void AdvanceStates(const TrellisStep<Real>& step,
                   const Real (&before)[kTrellisStates][kTrellisLanes],
                   Real (&after)[kTrellisStates][kTrellisLanes], uint8_t* decisions) {
  int32_t chosen[kTrellisLanes] = {};
  for (int s = 0; s < kTrellisStates / 2; ++s) {
    for (int b = 0; b < 2; ++b) {
      const int next = 2 * s + b;
      const Real* low = step.cost[2 * (s & 1) + (b ^ kTrellisParity[s])];
      const Real* high = step.cost[2 * (s & 1) + (b ^ kTrellisParity[s + 4])];
      for (size_t i = 0; i < kTrellisLanes; ++i) {
        const Real from_low = before[s][i] + low[i];
        const Real from_high = before[s + 4][i] + high[i];
        after[next][i] = from_high < from_low ? from_high : from_low;
        chosen[i] |= from_high < from_low ? 1 << next : 0;
      }
    }
  }
  for (size_t i = 0; i < kTrellisLanes; ++i) decisions[i] = static_cast<uint8_t>(chosen[i]);
}

// Walks back from the cheapest last states.
template <typename Real>
void TraceBack(const Real (&costs)[kTrellisStates][kTrellisLanes], size_t steps,
               const TrellisScratch& scratch, uint8_t* symbols) {
  uint8_t state[kTrellisLanes];
  for (size_t i = 0; i < kTrellisLanes; ++i) {
    int best = 0;
    for (int s = 1; s < kTrellisStates; ++s) best = costs[s][i] < costs[best][i] ? s : best;
    state[i] = static_cast<uint8_t>(best);
  }
  for (size_t t = steps; t-- > 0;) {
    const uint8_t* decisions = scratch.decisions.data() + t * kTrellisLanes;
    const uint8_t* candidates = scratch.candidates.data() + t * 4 * kTrellisLanes;
    for (size_t i = 0; i < kTrellisLanes; ++i) {
      const int next = state[i];
      const int from = (next >> 1) + (((decisions[i] >> next) & 1) << 2);
      const int folded = from ^ (from >> 2) ^ (from >> 1);
      const int parity = (next ^ folded) & 1;
      const uint8_t even = candidates[(2 * (from & 1)) * kTrellisLanes + i];
      const uint8_t odd = candidates[(2 * (from & 1) + 1) * kTrellisLanes + i];
      symbols[t * kTrellisLanes + i] = parity != 0 ? odd : even;
      state[i] = static_cast<uint8_t>(from);
    }
  }
}

template <class Lanes>
void SearchTrellis(const Reconstruction& reconstruction, const RateModel& rate,
                   const uint8_t* target, const uint8_t* parent, size_t count,
                   TrellisScratch& scratch, uint8_t* symbols) {
  using Real = typename Lanes::Real;
  const TrellisModel<Real> model(reconstruction, rate);
  const size_t steps = (count + kTrellisLanes - 1) / kTrellisLanes;
  scratch.Reserve(steps);
  Real costs[2][kTrellisStates][kTrellisLanes];
  for (int s = 0; s < kTrellisStates; ++s) {
    for (size_t i = 0; i < kTrellisLanes; ++i) costs[0][s][i] = s == 0 ? Real(0) : kImpossibleCost;
  }
  TrellisStep<Real> step;
  Real targets[kTrellisLanes] = {};
  Real parents[kTrellisLanes] = {};
  for (size_t t = 0; t < steps; ++t) {
    const size_t first = t * kTrellisLanes;
    const size_t lanes = count - first < kTrellisLanes ? count - first : kTrellisLanes;
    for (size_t i = 0; i < lanes; ++i) targets[i] = LoadReal<Lanes>(target, first + i);
    for (size_t i = 0; i < lanes; ++i) parents[i] = LoadReal<Lanes>(parent, first + i);
    for (size_t i = lanes; i < kTrellisLanes; ++i) targets[i] = parents[i] = 0;
    for (int c = 0; c < 4; ++c) FillCandidate<Lanes>(model, c, targets, parents, step);
    std::memcpy(scratch.candidates.data() + 4 * first, step.symbol, sizeof(step.symbol));
    AdvanceStates<Real>(step, costs[t & 1], costs[(t + 1) & 1], scratch.decisions.data() + first);
  }
  TraceBack<Real>(costs[steps & 1], steps, scratch, symbols);
}

}  // namespace

void QuantiseTrellis(DType dtype, const Reconstruction& reconstruction, const RateModel& rate,
                     const uint8_t* target, const uint8_t* parent, size_t count,
                     TrellisScratch& scratch, uint8_t* symbols) {
  WithRealLanes(dtype, [&](auto lanes) {
    SearchTrellis<decltype(lanes)>(reconstruction, rate, target, parent, count, scratch, symbols);
  });
}

}  // namespace wdelta::kernels::portable
