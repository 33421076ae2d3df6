// A RocksDB database that gets over a disk that takes no writes for a while.
//
// After a failed write RocksDB refuses further ones until it resumes. By itself it does so
// as soon as the file system says that it has space, which a quota may belie; it then goes
// on with a log whose writer is broken, and an assertion ends the process. So it is kept
// from resuming. Reads go on, and the database is opened anew by the first write that
// finds that the disk takes data again. For the same reason it has no LOG file, whose writer
// is no different: what it has to say is given to the caller.
//
// It also notices when writes are lost that were acknowledged: see high_water_mark.h.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "rocksdb/db.h"
#include "storage/blobs/database_stats.h"
#include "storage/blobs/high_water_mark.h"

namespace wdelta {

inline constexpr absl::Duration kDefaultProbePause = absl::Milliseconds(200);

// Called with what is known of acknowledged writes that are lost.
using OnLostWrites = std::function<void(absl::string_view message)>;

// Of every store that is such a database.
struct RocksdbOpening {
  // Changes nothing in the folder, takes nothing from other holders, and does not ask what is
  // lost; writes fail.
  bool is_read_only = false;
  // Called in any thread with lines of RocksDB's warnings and errors; empty: they are dropped.
  std::function<void(absl::string_view line)> warn;
  // Set: a database that lost writes is opened with what is there, and CheckComplete calls this.
  OnLostWrites accept_lost_writes;
  // CheckComplete has been called, and nobody has opened the database since: Open does not.
  bool is_complete = false;
  // For so long a failed probe stands for those of all who want to write.
  absl::Duration probe_pause = kDefaultProbePause;
};

struct RocksdbDatabaseOptions : RocksdbOpening {
  std::string name;  // begins all errors
  std::string path;  // its parent exists
  // Listeners, log and statistics are set by Open.
  rocksdb::Options rocksdb;
};

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

  // Whether Open would find all that was acknowledged; changes nothing in the folder, which need
  // not be there. FAILED_PRECONDITION (`DATA_DIR_IN_USE`) when the database is open elsewhere.
  // DATA_LOSS: `DATABASE_WENT_BACK` when it lacks writes that were acknowledged,
  // `HIGH_WATER_DAMAGED` when that cannot be told, unless they are accepted; `DATABASE_WENT_BACK`
  // when its CURRENT is missing, always. Other errors: why it cannot be read.
  static absl::Status CheckComplete(const RocksdbDatabaseOptions& options);
  // Errors: as CheckComplete, which it calls first.
  static absl::StatusOr<std::unique_ptr<RocksdbDatabase>> Open(RocksdbDatabaseOptions options);

  Lease Borrow() { return Lease(this); }

  // To be called before what leads to a write is read. True: after a failed write the
  // database was opened anew, and what that write was to do may be there or not. An error
  // (RESOURCE_EXHAUSTED `DISK_FULL` for a full disk; as Open for lost writes): no writes yet.
  absl::StatusOr<bool> Repair() ABSL_LOCKS_EXCLUDED(mutex_);

  // Applies the batch and syncs it; twice, where the database had to be opened anew for it.
  absl::Status Write(rocksdb::WriteBatch& batch, absl::string_view operation)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Cheap: no look at the disk.
  DatabaseStats Stats() ABSL_LOCKS_EXCLUDED(mutex_);

  absl::Status ToStatus(const rocksdb::Status& status, absl::string_view operation) const;
  const std::string& name() const { return options_.name; }

 private:
  RocksdbDatabase(RocksdbDatabaseOptions options, std::unique_ptr<rocksdb::DB> db,
                  std::unique_ptr<HighWaterMark> mark);

  rocksdb::Status TryWrite(rocksdb::WriteBatch& batch) ABSL_LOCKS_EXCLUDED(mutex_);
  bool IsBroken() ABSL_LOCKS_EXCLUDED(mutex_);
  // Writes as much as opening the database will, and removes it.
  absl::Status Probe() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Reopen() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // After a write that was synced; `number` is of that one or of a later one that was, too.
  void RaiseMark(uint64_t number);

  const RocksdbDatabaseOptions options_;
  const std::unique_ptr<HighWaterMark> mark_;  // null: read-only
  std::atomic<bool> is_mark_stuck_ = false;    // the last attempt to raise it failed
  absl::Mutex repair_mutex_;                   // one at a time; taken before mutex_
  absl::Status last_probe_ ABSL_GUARDED_BY(repair_mutex_);
  absl::Time next_probe_ ABSL_GUARDED_BY(repair_mutex_) = absl::InfinitePast();
  absl::Mutex mutex_;
  std::unique_ptr<rocksdb::DB> db_ ABSL_GUARDED_BY(mutex_);
  bool is_broken_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace wdelta
