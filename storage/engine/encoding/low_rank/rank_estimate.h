// Whether a matrix has a low rank beside the noise of rounding, told by a few of its rows.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/codec/linear_algebra.h"
#include "storage/engine/encoding/low_rank/delta_matrix.h"

namespace wdelta {

// The greatest rank that a correction of the tensor may have; 0: none is worth it.
uint32_t MaxRankOf(const DeltaMatrix& matrix);

struct RankEstimate {
  uint32_t rank = 0;  // 0: no low rank
  double left = 1;    // of all squares, beyond the rank
  ThinMatrix rows;    // that were looked at, whole
};

// False where some 64 rows, which are read, rule out that EstimateRank finds a rank, as they do
// for most matrices. In memory is a chunk of the tensor and of its parent, or a row where that is
// more, and as many floats.
absl::StatusOr<bool> MayHaveLowRank(const DeltaMatrix& matrix);

// Whether those rows are the matrix's first, and lie in its first chunk.
bool IsToldByFirstChunk(const DeltaMatrix& matrix);

// The same of such a matrix, whose first chunk and the parent's, converted, are these.
bool MayHaveLowRank(const DeltaMatrix& matrix, absl::string_view target, absl::string_view parent);

// Reads some 64 rows, which rule most matrices out, then 64 to 128 for the others. A matrix that is
// held is taken to have been asked for by MayHaveLowRank.
absl::StatusOr<RankEstimate> EstimateRank(const DeltaMatrix& matrix);

}  // namespace wdelta
