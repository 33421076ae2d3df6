// Blobs in a RocksDB database of their own, values in BlobDB files beside the tree.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "storage/base/limits.h"
#include "storage/blobs/blob_store.h"
#include "storage/blobs/rocksdb_database.h"

namespace wdelta {

struct RocksdbBlobStoreOptions : RocksdbOpening {
  uint64_t memtable_bytes = 64 * limits::kMiB;     // all memtables together
  uint64_t block_cache_bytes = 16 * limits::kMiB;  // index, filter and data blocks
  // Parts of blobs, so that small ranges read in a row verify a part only once.
  uint64_t blob_cache_bytes = 64 * limits::kMiB;
  int max_open_files = 512;
  int background_threads = 2;
  // Deleted bytes that set off a reclaim.
  uint64_t reclaim_after_bytes = 64 * limits::kMiB;
  // Share of dead bytes in the blob files above which live ones are moved together.
  double max_garbage_ratio = 0.25;
  rocksdb::Env* env = rocksdb::Env::Default();  // outlives the store
};

// Any thread may call it. Owns its folder while it lives, and one thread that gives
// the space of deleted blobs back.
class RocksdbBlobStore final : public BlobStore {
 public:
  struct Layout;  // of one blob in the database

  // As RocksdbDatabase::CheckComplete.
  static absl::Status CheckComplete(const std::string& path,
                                    const RocksdbBlobStoreOptions& options = {});
  // The parent of `path` exists. Errors: as RocksdbDatabase::Open.
  static absl::StatusOr<std::unique_ptr<RocksdbBlobStore>> Open(
      const std::string& path, const RocksdbBlobStoreOptions& options = {});
  ~RocksdbBlobStore() override;

  absl::StatusOr<PutResult> Put(const Digest& digest, absl::string_view data) override;
  absl::StatusOr<std::string> Get(const Digest& digest, uint64_t offset, uint64_t size) override;
  absl::Status ReadUnverified(const Digest& digest, uint64_t offset, uint64_t size,
                              char* destination) override;
  absl::StatusOr<BlobInfo> Stat(const Digest& digest) override;
  absl::StatusOr<BlobPage> List(const std::string& after_hex, uint32_t limit) override;
  absl::Status Delete(const Digest& digest) override;

  // Gives the space of deleted blobs back as far as max_garbage_ratio asks. Runs by
  // itself; callable for maintenance. Slow.
  absl::Status Reclaim();

  // Makes the database as it is a second one at `path`, which does not exist, of links
  // where the file system allows it.
  absl::Status Freeze(const std::string& path);
  DatabaseStats Stats() { return database_->Stats(); }
  // For RocksDB's own tools.
  RocksdbDatabase::Lease Borrow() { return database_->Borrow(); }

 private:
  RocksdbBlobStore(const RocksdbBlobStoreOptions& options,
                   std::unique_ptr<RocksdbDatabase> database);

  // nullopt when absent.
  absl::StatusOr<std::optional<Layout>> ReadLayout(const Digest& digest) const;
  absl::Status Read(const Digest& digest, uint64_t offset, uint64_t size, bool is_verified,
                    char* destination);
  absl::Mutex& WriteLockOf(const Digest& digest);
  bool HasTooMuchGarbage(rocksdb::DB& db) const;
  void ReclaimInBackground();
  bool ShouldReclaimOrStop() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(reclaim_mutex_);

  const RocksdbBlobStoreOptions options_;
  const std::unique_ptr<RocksdbDatabase> database_;
  // Held from the check for a digest to its write.
  std::array<absl::Mutex, 64> write_locks_;

  absl::Mutex reclaim_mutex_;
  uint64_t deleted_bytes_ ABSL_GUARDED_BY(reclaim_mutex_) = 0;  // since the last reclaim
  bool stopping_ ABSL_GUARDED_BY(reclaim_mutex_) = false;
  std::thread reclaimer_;
};

}  // namespace wdelta
