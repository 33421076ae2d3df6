// What corrections would save of a delta that was estimated without them.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "storage/base/thread_pool.h"
#include "storage/engine/encoding/chunk_input.h"
#include "storage/engine/encoding/delta_encoder.h"

namespace wdelta {

// Lowers `estimate`, which is that of EstimateDelta for the same input and sample: tensors of one
// shape are taken to be alike, and of a few shapes that take most bytes the first rows of one
// tensor are looked at, some 8 MiB. Costs next to nothing unless those show a low rank. Blocks
// until all of its tasks in `pool` have ended.
absl::Status EstimateCorrections(const DeltaEncoderInput& input,
                                 const std::vector<WeightedChunk>& sample, ThreadPool* pool,
                                 DeltaEstimate& estimate);

}  // namespace wdelta
