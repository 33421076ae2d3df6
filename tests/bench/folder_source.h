// A checkpoint folder as the engine sees a model, and `.wdelta` files made of two.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "storage/base/thread_pool.h"
#include "storage/codec/lossy.h"
#include "storage/engine/content/content_source.h"

namespace wdelta::bench {

enum class Digests { kTaken, kNone };

// Opens the files directly in `folder` (not in folders below) and takes their SHA-256,
// or leaves it zero.
absl::StatusOr<ContentSourcePtr> OpenFolder(const std::string& folder,
                                            Digests digests = Digests::kTaken);

// Writes the `.wdelta` of one folder against another to `path`, as the store does,
// digests included. Returns the size of the file in bytes.
absl::StatusOr<uint64_t> SaveDelta(const std::string& parent_folder,
                                   const std::string& target_folder, const std::string& path,
                                   ThreadPool* pool, Effort effort = Effort::kFast);
// The same of opened folders, whose digests are known.
absl::StatusOr<uint64_t> SaveDelta(const ContentSourcePtr& parent, const ContentSourcePtr& target,
                                   const std::string& path, ThreadPool* pool,
                                   Effort effort = Effort::kFast);

}  // namespace wdelta::bench
