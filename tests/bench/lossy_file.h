// `.wdelta` files of lossy deltas, made of two checkpoint folders as the store makes them.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "storage/base/thread_pool.h"
#include "storage/codec/lossy.h"
#include "storage/engine/encoding/lossy_plan.h"

namespace wdelta::bench {

struct LossyFile {
  uint64_t file_bytes = 0;
  LossyPlan plan;
};

// Plans and encodes `target_folder` by `policy` for all tensors. Blocks until its tasks in
// `pool` have ended.
absl::StatusOr<LossyFile> SaveLossyDelta(const std::string& parent_folder,
                                         const std::string& target_folder,
                                         const TensorPolicy& policy, Effort effort,
                                         const std::string& path, ThreadPool* pool);

// GB/s of decoded bytes at which the chunks that `plan` makes lossy are encoded, by CPU
// time of this thread, memory to memory. 0 when there are none.
absl::StatusOr<double> LossyEncodeSpeed(const std::string& parent_folder,
                                        const std::string& target_folder, const LossyPlan& plan);

}  // namespace wdelta::bench
