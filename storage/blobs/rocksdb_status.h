// The border between RocksDB's statuses and ours. Pure functions.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "rocksdb/status.h"

namespace wdelta {

// `what` names the database and the operation, e.g. `blob store /data/blobs: put`.
// Full disk: RESOURCE_EXHAUSTED (`DISK_FULL`). Corruption: DATA_LOSS. Busy, timed
// out, try again, stopped to be opened anew: UNAVAILABLE. Lock held: FAILED_PRECONDITION
// (`DATA_DIR_IN_USE`).
// Anything else, NotFound included: INTERNAL.
absl::Status FromRocksdb(const rocksdb::Status& status, absl::string_view what);

}  // namespace wdelta
