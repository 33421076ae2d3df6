// A clock that moves only when a test moves it.
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "storage/base/clock.h"

namespace wdelta::testing {

// Starts at 2026-01-01. Any thread may call it.
class ManualClock final : public Clock {
 public:
  absl::Time Now() const override ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return now_;
  }
  void Advance(absl::Duration step) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    now_ += step;
  }
  // Never back.
  void AdvanceTo(absl::Time time) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (time > now_) now_ = time;
  }

 private:
  mutable absl::Mutex mutex_;
  absl::Time now_ ABSL_GUARDED_BY(mutex_) = absl::FromCivil(absl::CivilSecond(2026, 1, 1),
                                                            absl::UTCTimeZone());
};

}  // namespace wdelta::testing
