// Whether the daemon can serve, check by check, as /readyz tells it.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace wdelta {

struct HealthReport {
  bool is_ready = false;
  std::string text;  // one line a check, then the verdict
};

// Checks: `serving` (started and not draining), `store` (open), `disk` (uploads are taken).
// Any thread may call it.
class HealthChecks {
 public:
  using Check = std::function<absl::Status()>;

  // The store is open; `disk` is asked at every look, and says why nothing is written. Null:
  // the store is not open any more; waits for looks to end.
  void SetStore(Check disk) ABSL_LOCKS_EXCLUDED(mutex_);
  void SetServing();
  // For good.
  void SetDraining();

  // Without the checks that are named in `excluded`.
  HealthReport Look(const std::vector<std::string>& excluded = {}) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  enum class Phase { kStarting, kServing, kDraining };

  absl::Status CheckServing() const;

  std::atomic<Phase> phase_ = Phase::kStarting;
  absl::Mutex mutex_;
  Check disk_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta
