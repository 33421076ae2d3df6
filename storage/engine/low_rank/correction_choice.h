// Which tensors of a delta have a correction, and what it is.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "storage/base/thread_pool.h"
#include "storage/engine/chunk_encoder.h"
#include "storage/engine/delta_encoder.h"

namespace wdelta {

// The correction with which a stream takes clearly fewer bytes, measured on a few of its chunks;
// null: none. Where the target is stored against the same parent with a correction, that is the
// only candidate. Costs next to nothing unless a few rows of the tensor show a low rank; then it
// is read some five times. Blocks until all of its tasks in `pool` have ended.
absl::StatusOr<CorrectionPtr> ChooseCorrection(const DeltaEncoderInput& input, uint32_t stream,
                                               ChunkEncoder& chunks, ThreadPool* pool);

}  // namespace wdelta
