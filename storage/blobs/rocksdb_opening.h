// Opening a RocksDB database so that one which lost writes is noticed (high_water_mark.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "rocksdb/db.h"

namespace wdelta {

// Sets `db` only where it succeeds.
rocksdb::Status OpenRocksdb(const rocksdb::Options& options, const std::string& path,
                            bool is_read_only, std::unique_ptr<rocksdb::DB>& db);

// The number of the last write that an opening would find, 0 when there is no database. Changes
// nothing, while an opening for writing removes the logs that it has read, damaged ones too.
// nullopt: the database is held elsewhere, or damaged so that the opening itself will fail.
std::optional<uint64_t> LookForLastWrite(const rocksdb::Options& options, const std::string& path);

// `expected` as the high-water mark has it. DATA_LOSS (`DATABASE_WENT_BACK`) when `found` is less.
absl::Status CheckLastWrite(absl::string_view name, const std::string& path, uint64_t expected,
                            uint64_t found);

}  // namespace wdelta
