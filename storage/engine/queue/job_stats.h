// What jobs have done since the process began, for whoever watches it.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "storage/base/histogram.h"
#include "store/v1/records.pb.h"

namespace wdelta {

// How a run of a job ended.
enum class RunResult {
  kSucceeded,
  kPutBack,  // waits for something else, or the daemon stops
  kRetried,  // failed and will be tried again
  kCancelled,
  kFailed,
};

// What garbage collections and scrubs did, all together.
struct MaintenanceTotals {
  uint64_t gc_freed_bytes = 0;
  uint64_t gc_written_bytes = 0;
  uint64_t gc_models_deleted = 0;  // by retention rules
  uint64_t gc_models_rewritten = 0;
  uint64_t gc_models_freed = 0;
  uint64_t scrub_models = 0;
  uint64_t scrub_bytes = 0;
  uint64_t scrub_damages = 0;
  uint64_t scrub_repairs = 0;
  // Of the last scrub that came to its end: what is damaged and was not repaired.
  std::optional<uint64_t> last_scrub_damages;
};

// Any thread may call it.
class JobStats {
 public:
  using Key = std::pair<store::v1::JobRecord::Kind, RunResult>;

  // A run, with the job's record at its begin and at its end: the report of a GC goes on from
  // run to run, that of a scrub begins anew.
  void Add(const store::v1::JobRecord& begun, const store::v1::JobRecord& ended, RunResult result,
           absl::Duration duration) ABSL_LOCKS_EXCLUDED(mutex_);

  HistogramsBy<Key>::CountsByKey durations_seconds() const { return durations_seconds_.Counts(); }
  MaintenanceTotals maintenance() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return maintenance_;
  }

 private:
  HistogramsBy<Key> durations_seconds_{DurationBoundsSeconds()};
  mutable absl::Mutex mutex_;
  MaintenanceTotals maintenance_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta
