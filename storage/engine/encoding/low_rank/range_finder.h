// The factors of a matrix of low rank and noise, by subspace iteration: Halko, Martinsson, Tropp,
// "Finding structure with randomness", 2011, algorithm 4.4, begun with rows of the matrix.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/base/thread_pool.h"
#include "storage/codec/correction.h"
#include "storage/codec/lossy.h"
#include "storage/engine/encoding/low_rank/delta_matrix.h"
#include "storage/engine/encoding/low_rank/rank_estimate.h"

namespace wdelta {

struct FactorSearch {
  // Fast looks at few columns where the rank that was estimated leaves much.
  Effort effort = Effort::kFast;
  // Bits of a lane to be saved: the search ends as soon as so much is not to be expected.
  double least_gain = 0;
};

// Corrections of the rank that promises the fewest bytes, one for each dtype of factors that
// there may be. Reads the matrix up to four times, in parallel; in memory are a few columns more
// than the estimated rank, and two chunks a thread. Nothing depends on the number of threads.
// `advance` is called between chunks; its error ends the work.
absl::StatusOr<std::vector<Correction>> FindFactors(const DeltaMatrix& matrix,
                                                    const RankEstimate& estimate,
                                                    const FactorSearch& search, ThreadPool* pool,
                                                    const std::function<absl::Status()>& advance);

}  // namespace wdelta
