#include <cstring>

#include "storage/codec/kernels/quantise_kernels.h"
#include "storage/codec/kernels/real_lanes.h"
#include "storage/codec/kernels/trellis_model.h"

namespace wdelta::kernels::portable {
namespace {

#include "storage/codec/kernels/exponent_classes-inl.h"

template <class Lanes>
void ReconstructLanes(const Reconstruction& reconstruction, const uint8_t* symbols,
                      const uint8_t* magnitudes, const uint8_t* parent, size_t first, size_t count,
                      uint8_t* target) {
  using Real = typename Lanes::Real;
  const Real step = static_cast<Real>(reconstruction.step);
  Real values[256];
  for (int m = 0; m < 256; ++m) {
    const int16_t reduction = reconstruction.reduction[m < kPoints ? m : kPoints];
    values[m] = step * (Real(m) - static_cast<Real>(reduction / kReductionScale));
  }
  for (size_t i = first; i < count; ++i) {
    const typename Lanes::Lane lane = LoadLane<Lanes>(parent, i);
    const Real value = values[magnitudes[i]];
    const Real sum = Lanes::ToReal(lane) + ((symbols[i] & 1) != 0 ? -value : value);
    StoreLane<Lanes>(magnitudes[i] == 0 ? lane : Lanes::FromReal(sum), target, i);
  }
}

}  // namespace

void ExponentClasses(DType dtype, int step_exponent, uint8_t base, const uint8_t* parent,
                     size_t first, size_t count, uint8_t* classes) {
  WithRealLanes(dtype, [&](auto lanes) {
    FillClasses<decltype(lanes)>(step_exponent, base, parent, first, count, classes);
  });
}

void Magnitudes(const uint8_t* symbols, size_t count, uint8_t* magnitudes) {
  uint8_t state[kTrellisLanes] = {};
  for (size_t i = 0; i < count; ++i) {
    uint8_t& s = state[i % kTrellisLanes];
    const int index = (symbols[i] + 1) >> 1;
    const int odd_quantiser = index == 0 ? 0 : s & 1;
    magnitudes[i] = static_cast<uint8_t>(2 * index - odd_quantiser);
    s = static_cast<uint8_t>(((2 * s) & 7) | ((index & 1) ^ kTrellisParity[s]));
  }
}

void Reconstruct(DType dtype, const Reconstruction& reconstruction, const uint8_t* symbols,
                 const uint8_t* magnitudes, const uint8_t* parent, size_t first, size_t count,
                 uint8_t* target) {
  WithRealLanes(dtype, [&](auto lanes) {
    ReconstructLanes<decltype(lanes)>(reconstruction, symbols, magnitudes, parent, first, count,
                                      target);
  });
}

void PartitionSymbols(const uint8_t* classes, const uint8_t* symbols, size_t first, size_t count,
                      ClassCursor& starts, uint8_t* partitioned) {
  for (size_t i = first; i < count; ++i) partitioned[starts[classes[i]]++] = symbols[i];
}

void MergeSymbols(const uint8_t* classes, const uint8_t* partitioned, size_t first, size_t count,
                  ClassCursor& starts, uint8_t* symbols) {
  for (size_t i = first; i < count; ++i) symbols[i] = partitioned[starts[classes[i]]++];
}

}  // namespace wdelta::kernels::portable
