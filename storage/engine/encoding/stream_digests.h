// SHA-256 of every stream of a model.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/base/digest.h"
#include "storage/base/thread_pool.h"
#include "storage/engine/content/content_source.h"

namespace wdelta {

// By stream. Those that the source knows are taken from it; the rest are read, a stream
// a thread, in small pieces. `advance` is called often; an error ends the work.
absl::StatusOr<std::vector<Digest>> DigestsOfStreams(const ContentSource& source, ThreadPool* pool,
                                                     const std::function<absl::Status()>& advance);

}  // namespace wdelta
