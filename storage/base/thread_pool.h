// A fixed set of threads for short, CPU-bound or disk-bound tasks.
#pragma once

#include <algorithm>
#include <deque>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"

namespace wdelta {

// Runs tasks in the order in which they were scheduled. Any thread may call it.
// The destructor runs what is queued, then joins. Callers bound what they queue.
// Schedule is called without any lock that a task may want: without threads it runs the task.
class ThreadPool {
 public:
  // 0: a task runs within Schedule, in its caller's thread, so that what happens is
  // the same every time.
  explicit ThreadPool(int thread_count);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  void Schedule(absl::AnyInvocable<void()> task) ABSL_LOCKS_EXCLUDED(mutex_);
  // How many tasks may run at once for one caller: at least 1.
  int thread_count() const { return std::max(1, static_cast<int>(threads_.size())); }

 private:
  void RunTasks() ABSL_LOCKS_EXCLUDED(mutex_);
  bool HasWorkOrStops() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopping_ || !tasks_.empty();
  }

  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<absl::AnyInvocable<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

}  // namespace wdelta
