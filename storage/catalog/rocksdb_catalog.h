// A catalog in a RocksDB database of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "rocksdb/db.h"
#include "storage/base/limits.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/change_log.h"

namespace wdelta {

struct RocksdbCatalogOptions {
  uint64_t memtable_bytes = 16 * limits::kMiB;  // all memtables together
  uint64_t block_cache_bytes = 32 * limits::kMiB;
  int max_open_files = 128;
  // Takes nothing from other holders; changes fail.
  bool is_read_only = false;
  ChangeLogOptions watch;
};

// Any thread may call it. Owns its folder while it lives. Commits are serialised;
// reads are not held up by them.
class RocksdbCatalog final : public Catalog {
 public:
  // The parent of `path` exists. FAILED_PRECONDITION (`DATA_DIR_IN_USE`) when the
  // database is open elsewhere.
  static absl::StatusOr<std::unique_ptr<RocksdbCatalog>> Open(
      const std::string& path, const RocksdbCatalogOptions& options = {});

  absl::StatusOr<std::optional<Record>> Get(absl::string_view key) override;
  absl::StatusOr<ScanPage> Scan(const ScanRequest& request) override;
  absl::StatusOr<uint64_t> Apply(const Commit& commit) override;
  absl::StatusOr<uint64_t> CurrentRevision() override;
  absl::StatusOr<std::unique_ptr<Watcher>> Watch(std::string prefix,
                                                 uint64_t after_revision) override;

  // Makes the database as it is a second one at `path`, which does not exist, of links
  // where the file system allows it.
  absl::Status Freeze(const std::string& path);
  // Stays the same for the life of the database.
  absl::StatusOr<std::string> Identity();
  // For RocksDB's own tools.
  rocksdb::DB& database() { return *db_; }

 private:
  RocksdbCatalog(std::string path, const ChangeLogOptions& watch, std::unique_ptr<rocksdb::DB> db,
                 uint64_t revision);

  absl::Status ToStatus(const rocksdb::Status& status, absl::string_view operation) const;
  absl::Status BadRecordError(absl::string_view key) const;
  // 0 when the record is absent.
  absl::StatusOr<uint64_t> ReadVersion(absl::string_view key) const;

  const std::string path_;
  const std::unique_ptr<rocksdb::DB> db_;
  absl::Mutex mutex_;
  uint64_t revision_ ABSL_GUARDED_BY(mutex_);  // of the last commit on disk
  ChangeLog changes_;                          // appended to under mutex_
};

}  // namespace wdelta
