// Sizes that need no coder: what a formula says that a scheme, or the best scheme of
// a kind, would take for a pair of checkpoints, in bits. Headers are not counted.
// No state: any thread may call these functions.
//
// Both work on d = u(target) - u(parent), where u is the monotone integer of a
// float's bits. Tensors without parent, or that hold no floats, count as raw.
#pragma once

#include <optional>

#include "tests/bench/checkpoint_pair.h"

namespace wdelta::bench {

// FM-Delta (NeurIPS 2024), from its formula: the entropy of (sign, floor(log2 |d|))
// over the whole model, and the bits of |d| below its leading one, raw.
double FmDeltaBits(const CheckpointPair& pair);

struct ConditionalEntropy {
  // Of d given the parent's exponent, with the frequencies of the model itself: what
  // an ideal coder would take that was told them for free. Absent for types of more
  // than 16 bits, where every d is nearly one of a kind.
  std::optional<double> plug_in_bits;
  // What an adaptive coder really takes that learns the frequencies on its way
  // (Krichevsky-Trofimov estimates): sign, leading bit and the next few bits of d
  // given the parent's exponent, the bits below raw. As many bits as come out best.
  double adaptive_bits = 0;
};

// A bound for coders whose only context is the parent's exponent, not for others.
ConditionalEntropy EntropyGivenParentExponent(const CheckpointPair& pair);

}  // namespace wdelta::bench
