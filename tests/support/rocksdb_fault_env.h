// A disk below RocksDB that fails, and that forgets what was not synced when its power
// goes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"

namespace wdelta::testing {

// Lies over the real file system. Every Append, Sync, creation, renaming and syncing of a
// folder is a step. Any thread may call it; LosePower and what sets faults while no
// database is open on it, or none writes.
class FaultDisk final : public rocksdb::FileSystemWrapper {
 public:
  enum class Fault { kDiskFull, kInputOutput, kPowerLost };

  FaultDisk();

  // The steps from the one after `steps` more fail, `count` of them. A failing Append
  // writes a part, as full disks do.
  void FailAfter(int64_t steps, Fault fault, int64_t count = INT64_MAX) ABSL_LOCKS_EXCLUDED(mutex_);
  void Heal() ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether a step has failed since FailAfter.
  bool has_failed() ABSL_LOCKS_EXCLUDED(mutex_);
  // Only files whose name ends so fail; empty: all.
  void SetFailing(std::string suffix) ABSL_LOCKS_EXCLUDED(mutex_);

  // What was not synced is lost: the end of a file but for a random part of it, of logs with
  // another last byte at times, and the newest few of the names of files whose folder was
  // not synced. The ends of other files are cut only, as file systems with ordered writes do it:
  // RocksDB does not open on a MANIFEST that ends in noise. Heals.
  void LosePower(std::mt19937& random) ABSL_LOCKS_EXCLUDED(mutex_);

  const char* Name() const override { return "FaultDisk"; }
  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewDirectory(const std::string& path, const rocksdb::IOOptions& options,
                                 std::unique_ptr<rocksdb::FSDirectory>* directory,
                                 rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to,
                               const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus DeleteFile(const std::string& path, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;

 private:
  class File;
  class Directory;
  // Of a file that was written since the power came.
  struct State {
    uint64_t written_bytes = 0;
    uint64_t synced_bytes = 0;
    bool is_name_synced = false;
    uint64_t name_number = 0;             // names reach the disk in this order
    std::optional<std::string> replaced;  // content of the file that had the name before
  };

  // OK, or the fault that is due. `path`: of the file or folder.
  rocksdb::IOStatus Step(const std::string& path) ABSL_LOCKS_EXCLUDED(mutex_);
  void NoteAppend(const std::string& path, uint64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);
  void NoteSync(const std::string& path) ABSL_LOCKS_EXCLUDED(mutex_);
  void NoteFolderSync(const std::string& path) ABSL_LOCKS_EXCLUDED(mutex_);

  absl::Mutex mutex_;
  std::map<std::string, State> files_ ABSL_GUARDED_BY(mutex_);
  uint64_t names_given_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t names_synced_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t steps_left_ ABSL_GUARDED_BY(mutex_) = INT64_MAX;
  int64_t failures_left_ ABSL_GUARDED_BY(mutex_) = 0;
  Fault fault_ ABSL_GUARDED_BY(mutex_) = Fault::kInputOutput;
  std::string failing_ ABSL_GUARDED_BY(mutex_);
  bool has_failed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace wdelta::testing
