// Indexes of shards against the shards beside them.
#pragma once

#include "absl/status/status.h"
#include "storage/engine/content/content_source.h"

namespace wdelta {

// Of every index in the checkpoint. INVALID_ARGUMENT (`BAD_INDEX`) naming the file, and errors of
// reading. Any thread may call it.
absl::Status CheckIndexes(const ContentSource& source);

}  // namespace wdelta
