// The border between RocksDB's statuses and ours, and writing past an error. Any thread may
// call it.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "rocksdb/db.h"
#include "rocksdb/status.h"
#include "rocksdb/write_batch.h"

namespace wdelta {

// `what` names the database and the operation, e.g. `blob store /data/blobs: put`.
// Full disk: RESOURCE_EXHAUSTED (`DISK_FULL`). Corruption: DATA_LOSS. Busy, timed
// out, try again: UNAVAILABLE. Lock held: FAILED_PRECONDITION (`DATA_DIR_IN_USE`).
// Anything else, NotFound included: INTERNAL.
absl::Status FromRocksdb(const rocksdb::Status& status, absl::string_view what);

// Writes and syncs a batch. Once the disk was full RocksDB refuses every write until it is
// resumed; so it is, and the batch is written again, in case that there is space by now.
rocksdb::Status WriteDurably(rocksdb::DB& db, rocksdb::WriteBatch& batch);

}  // namespace wdelta
