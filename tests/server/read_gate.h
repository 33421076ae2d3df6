// Stops work at a chosen step until a test says go, and counts what is done after that.
#pragma once

#include <functional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace wdelta::testing {

// Step is a hook of the work: a read of a blob, say. Any thread may call it.
class ReadGate {
 public:
  // From now on `at_step` is called at step number `step`, counted from 1, in its thread; that
  // step and those that begin after it wait for Open.
  void Close(int step, std::function<void()> at_step) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    state_ = State::kClosing;
    stop_at_ = step;
    at_step_ = std::move(at_step);
    steps_ = 0;
    steps_after_ = 0;
  }

  void Step() ABSL_LOCKS_EXCLUDED(mutex_) {
    std::function<void()> at_step;
    int openings = 0;
    {
      absl::MutexLock lock(&mutex_);
      openings = openings_;
      if (state_ == State::kOpen) {
        ++steps_after_;
        return;
      }
      if (state_ == State::kIdle || ++steps_ < stop_at_) return;
      state_ = State::kClosed;
      at_step = std::exchange(at_step_, nullptr);
    }
    if (at_step) at_step();
    // Not until it is open: it may be closed again before this thread has seen that.
    const auto was_opened = [this, openings]()
                                ABSL_NO_THREAD_SAFETY_ANALYSIS { return openings_ != openings; };
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&was_opened));
  }

  void Open() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    was_reached_ = state_ == State::kClosed;
    state_ = State::kOpen;
    ++openings_;
    opened_at_ = absl::Now();
  }

  // Of the last closing: whether a step came to it, how many began after it was opened, and
  // when that was.
  bool was_reached() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return was_reached_;
  }
  int steps_after() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return steps_after_;
  }
  absl::Time opened_at() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return opened_at_;
  }
  void AwaitReached() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &ReadGate::IsClosed));
  }

 private:
  enum class State { kIdle, kClosing, kClosed, kOpen };
  bool IsClosed() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return state_ == State::kClosed; }

  mutable absl::Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kIdle;
  int stop_at_ ABSL_GUARDED_BY(mutex_) = 0;
  std::function<void()> at_step_ ABSL_GUARDED_BY(mutex_);
  int openings_ ABSL_GUARDED_BY(mutex_) = 0;
  int steps_ ABSL_GUARDED_BY(mutex_) = 0;
  int steps_after_ ABSL_GUARDED_BY(mutex_) = 0;
  bool was_reached_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time opened_at_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta::testing
