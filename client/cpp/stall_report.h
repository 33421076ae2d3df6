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

  // One of the transfers. It tells that it stands still when it is the first to do so, and that
  // it goes on when no other stands still any more: what others receive meanwhile tells nothing.
  // The report must outlive it. Any thread may call it.
  class Transfer {
   public:
    explicit Transfer(StallReport& report) : report_(report) {}
    // One that ends while it stands still tells nothing of it.
    ~Transfer() { report_.Leave(is_stalled_); }
    Transfer(const Transfer&) = delete;
    Transfer& operator=(const Transfer&) = delete;

    void Stalled(const absl::Status& reason) { report_.Enter(reason, is_stalled_); }
    // Something got through.
    void GoesOn() { report_.GoesOn(is_stalled_); }

   private:
    StallReport& report_;
    bool is_stalled_ = false;  // under the report's mutex
  };

 private:
  void Enter(const absl::Status& reason, bool& is_stalled) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (is_stalled) return;
    is_stalled = true;
    if (stalled_++ == 0 && callback_) callback_(reason);
  }
  void GoesOn(bool& is_stalled) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (!is_stalled) return;
    is_stalled = false;
    if (--stalled_ == 0 && callback_) callback_(absl::OkStatus());
  }
  void Leave(bool& is_stalled) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (is_stalled) --stalled_;
    is_stalled = false;
  }

  const StallCallback& callback_;
  absl::Mutex mutex_;
  int stalled_ ABSL_GUARDED_BY(mutex_) = 0;  // transfers that stand still
};

}  // namespace wdelta
