// What transfers that stand still tell, however many they are.
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "client/cpp/progress.h"

namespace wdelta {

// Of the transfers of one command, which share a connection. Any thread may call it.
class StallReport {
 public:
  // `callback` may be empty; it must outlive this.
  explicit StallReport(const StallCallback& callback) : callback_(callback) {}
  StallReport(const StallReport&) = delete;
  StallReport& operator=(const StallReport&) = delete;

  // Told once, until one of them goes on.
  void Stalled(const absl::Status& reason) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (!is_stalled_ && callback_) callback_(reason);
    is_stalled_ = true;
  }
  // Something got through.
  void GoesOn() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (is_stalled_ && callback_) callback_(absl::OkStatus());
    is_stalled_ = false;
  }

 private:
  const StallCallback& callback_;
  absl::Mutex mutex_;
  bool is_stalled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace wdelta
