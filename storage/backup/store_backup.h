// Backups of a running store.
//
// The store is frozen first: both databases as RocksDB checkpoints and the staged files as
// hard links, in a work folder inside the data folder, which takes about as long as writing
// out what is in memory. Only then is it copied, from what is frozen, so that uploads, jobs
// and deletions go on. What the frozen files hold is not freed before the backup ends.
#pragma once

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "storage/base/clock.h"
#include "storage/base/file_system.h"
#include "storage/blobs/rocksdb_blob_store.h"
#include "storage/catalog/rocksdb_catalog.h"
#include "storage/engine/backup_maker.h"

namespace wdelta {

// Any thread may call it; one backup at a time.
class StoreBackup final : public BackupMaker {
 public:
  // All must outlive it.
  struct Dependencies {
    RocksdbCatalog* catalog = nullptr;
    RocksdbBlobStore* blobs = nullptr;
    // Of the GatedBlobStore and GatedFileSystem through which the engine deletes.
    absl::Mutex* deletion_gate = nullptr;
    FileSystem* files = nullptr;
    const Clock* clock = nullptr;
    std::string data_dir;
    std::string staging_dir;
    std::string work_dir;  // in the file system of the others; nobody else's
  };
  // Removes what an interrupted backup left in the work folder.
  static absl::StatusOr<std::unique_ptr<StoreBackup>> Open(const Dependencies& dependencies);

  absl::StatusOr<BackupReport> MakeBackup(const BackupOptions& options,
                                          const OnProgress& on_progress) override
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  class Run;

  explicit StoreBackup(const Dependencies& dependencies) : deps_(dependencies) {}
  absl::Status CheckFolder(const std::string& folder) const;

  const Dependencies deps_;
  absl::Mutex mutex_;
  bool is_running_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace wdelta
