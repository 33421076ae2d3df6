// What the twins of the trellis search share. No state.
#pragma once

#include "storage/codec/kernels/quantise_kernels.h"

namespace wdelta::kernels {

// The cost of what cannot be, and of a lane that is stored whole.
inline constexpr float kImpossibleCost = 1e30f;
inline constexpr float kEscapeCost = 64;
// Deltas are cut to so many steps: beyond all indices, within all integers.
inline constexpr float kMostSteps = 1000;

// Odd states take quantiser 1 (0 and the odd multiples of the step), even ones
// quantiser 0 (the even multiples). Index k leads from state s to
// (2 s mod 8) + (parity of k xor parity of the bits of s).
//
// A weight has four candidates: number 2 q + p is the nearest index of quantiser q
// and parity p. Its magnitudes are kBaseMagnitude, that plus 4, plus 8, ..., and 0
// where p is 0.
inline constexpr int kTrellisParity[kTrellisStates] = {0, 1, 1, 0, 1, 0, 0, 1};
inline constexpr int kBaseMagnitude[4] = {0, 2, 3, 1};

template <typename Real>
struct TrellisModel {
  Real step, inverse, linear, quadratic, nonzero;
  Real bias;            // candidates are rounded so much towards zero, in fours of steps
  Real zero_border[2];  // of the even candidates, by quantiser, in steps
  Real offset[kPoints + 1];

  TrellisModel(const Reconstruction& reconstruction, const RateModel& rate)
      : step(static_cast<Real>(reconstruction.step)),
        inverse(Real(1) / step),
        linear(static_cast<Real>(rate.linear)),
        quadratic(static_cast<Real>(rate.quadratic)),
        nonzero(static_cast<Real>(rate.nonzero)),
        // Indices of one parity differ by 2 and 4 steps: their border moves by a
        // quarter of a step for a cost of 2 squares.
        bias(static_cast<Real>(rate.linear / 16)),
        zero_border{static_cast<Real>(2 + (2 * rate.linear + rate.nonzero) / 8),
                    static_cast<Real>(1.5 + (2 * rate.linear + rate.nonzero) / 6)} {
    for (int j = 0; j <= kPoints; ++j) {
      offset[j] = static_cast<Real>(reconstruction.reduction[j] / kReductionScale);
    }
  }
};

}  // namespace wdelta::kernels
