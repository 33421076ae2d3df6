// A catalog in a RocksDB database of its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "storage/base/limits.h"
#include "storage/blobs/rocksdb_database.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/change_log.h"

namespace wdelta {

struct RocksdbCatalogOptions : RocksdbOpening {
  uint64_t memtable_bytes = 16 * limits::kMiB;  // all memtables together
  uint64_t block_cache_bytes = 32 * limits::kMiB;
  int max_open_files = 128;
  ChangeLogOptions watch;
  rocksdb::Env* env = rocksdb::Env::Default();  // outlives the catalog
};

class RocksdbCommitGroup;

// Any thread may call it. Owns its folder while it lives. Commits that come at the same time
// become durable by one write; reads are not held up by them.
class RocksdbCatalog final : public Catalog {
 public:
  // As RocksdbDatabase::CheckComplete.
  static absl::Status CheckComplete(const std::string& path,
                                    const RocksdbCatalogOptions& options = {});
  // The parent of `path` exists. Errors: as RocksdbDatabase::Open.
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
  DatabaseStats Stats() { return database_->Stats(); }
  // For RocksDB's own tools.
  RocksdbDatabase::Lease Borrow() { return database_->Borrow(); }

 private:
  RocksdbCatalog(const ChangeLogOptions& watch, std::unique_ptr<RocksdbDatabase> database,
                 uint64_t revision);

  struct WaitingCommit {
    const Commit* commit = nullptr;
    std::optional<absl::StatusOr<uint64_t>> result;  // guarded by mutex_
  };

  // Some or all that wait, the first ones first.
  std::vector<WaitingCommit*> TakeWaiting() ABSL_LOCKS_EXCLUDED(waiting_mutex_);
  // Leaves a result in each.
  void ApplyTogether(absl::Span<WaitingCommit* const> commits)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Write(RocksdbCommitGroup& group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Tells watchers of what is on the disk.
  void Publish(std::vector<std::vector<Change>> commits, uint64_t last_revision)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Before a commit: the database takes writes, and revision_ is its own.
  absl::Status Repair() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status BadRecordError(absl::string_view key) const;
  // 0 when the record is absent.
  absl::StatusOr<uint64_t> ReadVersion(absl::string_view key) const;

  const std::unique_ptr<RocksdbDatabase> database_;
  absl::Mutex waiting_mutex_;
  std::deque<WaitingCommit*> waiting_ ABSL_GUARDED_BY(waiting_mutex_);
  absl::Mutex mutex_;               // held while a group is written
  std::atomic<uint64_t> revision_;  // of the last commit on disk; set under mutex_
  // Of each commit of the group that failed last, and what its last revision would be.
  std::vector<std::vector<Change>> uncertain_ ABSL_GUARDED_BY(mutex_);
  uint64_t uncertain_revision_ ABSL_GUARDED_BY(mutex_) = 0;
  ChangeLog changes_;  // appended to under mutex_
};

}  // namespace wdelta
