// Which tensors of a delta have a correction, and what it is.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "absl/status/statusor.h"
#include "storage/base/thread_pool.h"
#include "storage/engine/encoding/chunk_encoder.h"
#include "storage/engine/encoding/delta_encoder.h"
#include "storage/engine/encoding/low_rank/delta_matrix.h"

namespace wdelta {

// The stream's difference to its parent's, where a correction may be; nullopt as DeltaMatrix::Of,
// and where the stream has no parent, equals it, or is coded with loss.
std::optional<DeltaMatrix> MatrixToCorrect(const DeltaEncoderInput& input, uint32_t stream);

struct MeasuredCorrection {
  CorrectionPtr correction;  // null: none
  double share = 1;          // of the bytes without it, factors included
};

struct CorrectionSearch {
  const DeltaEncoderInput& input;
  ChunkEncoder& chunks;
  // The search waits for tasks of it: not one whose thread calls, unless it has none.
  ThreadPool* pool;
  // Called now and then; its error ends the work.
  std::function<absl::Status()> advance;
  // Shares are measured by encoding a few chunks, otherwise estimated from a few of their lanes.
  bool is_measured = false;
};

// The correction with which the stream takes clearly fewer bytes. Where the target is stored
// against the same parent with a correction, that is the only candidate. Costs next to nothing
// unless a few rows of the matrix show a low rank; then it is read up to some five times, unless
// it is held. Effort fast gives up where little is to be gained. With the FirstRows of a matrix
// only those are read: the correction, whose factors are 0 for all other rows, is good for telling
// its share and no more. Blocks until all of its tasks in the pool have ended.
absl::StatusOr<MeasuredCorrection> ChooseCorrection(const CorrectionSearch& search,
                                                    const DeltaMatrix& matrix);

}  // namespace wdelta
