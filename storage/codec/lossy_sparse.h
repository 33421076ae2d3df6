// Strategy kSparse: the largest deltas exactly, none elsewhere. What comes out is coded
// by the lossless modes, which are good at few changes.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "storage/tensor/dtype.h"

namespace wdelta {

// Fills `kept` with the target's lanes where |target - parent| >= threshold, and the
// parent's elsewhere. Sizes are equal and whole lanes of a dtype that CanBeLossy.
// False when a lane is not finite. No state: any thread.
bool KeepLargest(DType dtype, absl::string_view target, absl::string_view parent, double threshold,
                 std::string& kept);

}  // namespace wdelta
