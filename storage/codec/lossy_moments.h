// Sums over deltas and errors that the lossy modes share. No state: any thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "storage/codec/lossy.h"

namespace wdelta {

// INVALID_ARGUMENT unless the dtype CanBeLossy and the sizes are equal.
absl::Status CheckLossyInput(DType dtype, absl::string_view target, absl::string_view parent);

// Moments of the lanes [first, first + count).
DeltaMoments MomentsOfLanes(DType dtype, const uint8_t* target, const uint8_t* parent, size_t first,
                            size_t count);

// What `output` in the place of `target` costs; all three of one size. Leaves bits 0.
LossyOutcome MeasureOutcome(DType dtype, absl::string_view target, absl::string_view parent,
                            absl::string_view output);

}  // namespace wdelta
