// Sums over deltas and errors, on the best instruction set of the CPU. What is added
// up where depends on nothing but the position: all CPUs give the same sums.
// No state: any thread may call them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "storage/codec/lossy.h"

namespace wdelta::kernels {

// Moments of the lanes [first, first + count).
DeltaMoments SumMoments(DType dtype, const uint8_t* target, const uint8_t* parent, size_t first,
                        size_t count);

// Outcome of `output` in the place of `target`, but for the bits.
LossyOutcome SumOutcome(DType dtype, const uint8_t* target, const uint8_t* parent,
                        const uint8_t* output, size_t count);

}  // namespace wdelta::kernels
