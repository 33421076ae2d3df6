// A checkpoint folder as the engine sees a model, and `.wdelta` files made of two.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "storage/base/thread_pool.h"
#include "storage/engine/content_source.h"
#include "tests/bench/checkpoint_pair.h"

namespace wdelta::bench {

// Opens the files directly in `folder` (not in folders below) and takes their SHA-256.
absl::StatusOr<ContentSourcePtr> OpenFolder(const std::string& folder);

// Writes the `.wdelta` of one folder against another to `path`, as the store does,
// digests included. Returns the size of the file in bytes.
absl::StatusOr<uint64_t> SaveDelta(const std::string& parent_folder,
                                   const std::string& target_folder, const std::string& path,
                                   ThreadPool* pool);

// All tensors of the model in a `.wdelta`, decoded over the parent folder, whose digest
// is verified.
absl::StatusOr<TensorsByName> LoadDelta(const std::string& path, const std::string& parent_folder,
                                        ThreadPool* pool);

}  // namespace wdelta::bench
