// `.wdelta` files of lossy deltas, made of two checkpoint folders with the codec's own
// planner.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "storage/base/thread_pool.h"
#include "storage/codec/lossy.h"

namespace wdelta::bench {

struct LossyFile {
  uint64_t file_bytes = 0;
  LossyOutcome outcome;       // of the lossy tensors, after rounding to their dtype
  double coder_gb_per_s = 0;  // of the last encoding of all lossy chunks, by CPU time of one thread
};

// Plans and encodes the tensors of `target_folder` that are lossy (two dimensions or more,
// a float type, and a parent of the same shape) by `policy`; everything else is lossless.
// Holds both checkpoints in memory. Blocks until its tasks in `pool` have ended.
absl::StatusOr<LossyFile> SaveLossyDelta(const std::string& parent_folder,
                                         const std::string& target_folder,
                                         const TensorPolicy& policy, Effort effort,
                                         const std::string& path, ThreadPool* pool);

}  // namespace wdelta::bench
