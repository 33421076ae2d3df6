// A `.wdelta` file loaded over its parent's folder, as a program without a daemon does.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "storage/base/thread_pool.h"
#include "tests/bench/checkpoint_pair.h"

namespace wdelta::bench {

// All tensors of the model in a `.wdelta`. The checksum of every decoded chunk is
// verified; a wrong parent does not pass that, so the parent's digest is not taken.
// Chunks are decoded in the threads of `pool`, which the caller is not one of.
absl::StatusOr<TensorsByName> LoadDelta(const std::string& path, const std::string& parent_folder,
                                        ThreadPool* pool);

}  // namespace wdelta::bench
