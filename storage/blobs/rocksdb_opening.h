// Opening a RocksDB database so that one which lost writes is noticed (high_water_mark.h). Any
// thread; `name` begins all errors.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "rocksdb/db.h"

namespace wdelta {

// Sets `db` only where it succeeds.
rocksdb::Status OpenRocksdb(const rocksdb::Options& options, const std::string& path,
                            bool is_read_only, std::unique_ptr<rocksdb::DB>& db);

// The number of the last write before which none is missing that an opening would find. Changes
// nothing, while an opening for writing removes the logs that it has read, damaged ones too. The
// caller sees to it that nobody writes meanwhile. Errors: as FromRocksdb.
absl::StatusOr<uint64_t> FindLastWrite(absl::string_view name, const rocksdb::Options& options,
                                       const std::string& path);

// Compares that with `expected`, as the high-water mark has it, while it holds the lock of the
// database. Besides those errors DATA_LOSS (`DATABASE_WENT_BACK`) when less is there, and
// FAILED_PRECONDITION (`DATA_DIR_IN_USE`).
absl::Status CheckComplete(absl::string_view name, const rocksdb::Options& options,
                           const std::string& path, uint64_t expected);

// Of a folder that has had a database: RocksDB would make one anew where CURRENT is missing, and
// remove the files of the one that is there. DATA_LOSS (`DATABASE_WENT_BACK`) then.
absl::Status CheckHasDatabase(absl::string_view name, const rocksdb::Options& options,
                              const std::string& path);

// DATA_LOSS (`DATABASE_WENT_BACK`) when `found` is less than `expected`.
absl::Status CheckLastWrite(absl::string_view name, const std::string& path, uint64_t expected,
                            uint64_t found);

}  // namespace wdelta
