// Recent changes of a catalog in this process, and those who wait for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "storage/base/limits.h"
#include "storage/catalog/catalog.h"

namespace wdelta {

struct ChangeLogOptions {
  uint64_t max_changes = limits::kMaxWatchBacklog;
  uint64_t max_bytes = limits::kMaxWatchBacklogBytes;  // of keys and values
};

// Any thread may call it; the catalog appends in order of revision. Watchers must
// not outlive it.
class ChangeLog {
 public:
  // Knows nothing of changes up to `revision`.
  explicit ChangeLog(uint64_t revision, const ChangeLogOptions& options = {});

  // All changes of one commit, whose revision is greater than all before.
  void Append(std::vector<Change> changes, uint64_t revision) ABSL_LOCKS_EXCLUDED(mutex_);

  // OUT_OF_RANGE (`CHANGES_NOT_KEPT`) when a change after `after_revision` is gone.
  absl::StatusOr<std::unique_ptr<Watcher>> Watch(std::string prefix, uint64_t after_revision)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // Guarded by the log's mutex, like all of a watcher.
  struct Cursor {
    ChangeLog* log = nullptr;
    std::string prefix;
    uint64_t after_revision = 0;  // everything up to here was given out
    bool stopped = false;
    bool IsReady() const;
  };
  class LogWatcher;

  absl::Status CheckKept(uint64_t after_revision) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::vector<Change>> Next(Cursor& cursor, absl::Time deadline)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void Stop(Cursor& cursor) ABSL_LOCKS_EXCLUDED(mutex_);

  const ChangeLogOptions options_;
  absl::Mutex mutex_;
  std::deque<Change> changes_ ABSL_GUARDED_BY(mutex_);
  uint64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t last_revision_ ABSL_GUARDED_BY(mutex_);
  // Changes up to this revision are not, or not all, kept.
  uint64_t gone_revision_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta
