// A RocksDB database that gets over a disk that takes no writes for a while.
//
// After a failed write RocksDB refuses further ones until it resumes. By itself it does so
// as soon as the file system says that it has space, which a quota may belie; it then goes
// on with a log whose writer is broken, and an assertion ends the process. So it is kept
// from resuming. Reads go on, and the database is opened anew by the first write that
// finds that the disk takes data again. For the same reason it has no LOG file, whose writer
// is no different: what it has to say is given to the caller.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "rocksdb/db.h"
#include "storage/blobs/database_stats.h"

namespace wdelta {

inline constexpr absl::Duration kDefaultProbePause = absl::Milliseconds(200);

// Any thread may call it.
class RocksdbDatabase {
 public:
  // The database stays open for as long as one of these lives. A thread must not hold two,
  // nor write while it holds one: who opens the database anew waits for them all.
  class Lease {
   public:
    explicit Lease(RocksdbDatabase* database) ABSL_NO_THREAD_SAFETY_ANALYSIS
        : database_(*database) {
      database_.mutex_.ReaderLock();
    }
    ~Lease() ABSL_NO_THREAD_SAFETY_ANALYSIS { database_.mutex_.ReaderUnlock(); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    rocksdb::DB* operator->() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return database_.db_.get(); }
    rocksdb::DB& operator*() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return *database_.db_; }

   private:
    RocksdbDatabase& database_;
  };

  // `name` begins all errors. The parent of `path` exists. FAILED_PRECONDITION
  // (`DATA_DIR_IN_USE`) when the database is open elsewhere. `warn` is called in any thread
  // with lines of RocksDB's warnings and errors; empty: they are dropped. `probe_pause`: for
  // so long a failed probe stands for those of all who want to write. Listeners, log and
  // statistics of `options` are set here.
  static absl::StatusOr<std::unique_ptr<RocksdbDatabase>> Open(
      std::string name, std::string path, rocksdb::Options options, bool is_read_only,
      std::function<void(absl::string_view)> warn = {},
      absl::Duration probe_pause = kDefaultProbePause);

  Lease Borrow() { return Lease(this); }

  // To be called before what leads to a write is read. True: after a failed write the
  // database was opened anew, and what that write was to do may be there or not. An error
  // (RESOURCE_EXHAUSTED `DISK_FULL` for a full disk): no writes yet.
  absl::StatusOr<bool> Repair() ABSL_LOCKS_EXCLUDED(mutex_);

  // Applies the batch and syncs it; twice, where the database had to be opened anew for it.
  absl::Status Write(rocksdb::WriteBatch& batch, absl::string_view operation)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Cheap: no look at the disk.
  DatabaseStats Stats() ABSL_LOCKS_EXCLUDED(mutex_);

  absl::Status ToStatus(const rocksdb::Status& status, absl::string_view operation) const;
  const std::string& name() const { return name_; }

 private:
  RocksdbDatabase(std::string name, std::string path, rocksdb::Options options,
                  absl::Duration probe_pause, std::unique_ptr<rocksdb::DB> db);

  rocksdb::Status TryWrite(rocksdb::WriteBatch& batch) ABSL_LOCKS_EXCLUDED(mutex_);
  bool IsBroken() ABSL_LOCKS_EXCLUDED(mutex_);
  // Writes as much as opening the database will, and removes it.
  absl::Status Probe() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Reopen() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string name_;
  const std::string path_;
  const rocksdb::Options options_;
  const absl::Duration probe_pause_;
  absl::Mutex repair_mutex_;  // one at a time; taken before mutex_
  absl::Status last_probe_ ABSL_GUARDED_BY(repair_mutex_);
  absl::Time next_probe_ ABSL_GUARDED_BY(repair_mutex_) = absl::InfinitePast();
  absl::Mutex mutex_;
  std::unique_ptr<rocksdb::DB> db_ ABSL_GUARDED_BY(mutex_);
  bool is_broken_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace wdelta
