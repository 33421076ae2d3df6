// Work in a thread pool whose results are taken in the order in which it was started.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "storage/base/status_macros.h"
#include "storage/base/thread_pool.h"

namespace wdelta {

// At most two results a thread are in memory. One thread at a time, which must not be
// one of the pool's.
template <typename Result>
class OrderedTasks {
 public:
  using Work = std::function<absl::Status(Result&)>;
  using Consume = std::function<absl::Status(Result&)>;

  // `consume` runs in the caller's thread. `pool` must outlive this object.
  OrderedTasks(ThreadPool* pool, Consume consume)
      : pool_(pool),
        consume_(std::move(consume)),
        window_(2 * static_cast<size_t>(pool->thread_count())) {}

  // Work refers to what its caller owns: none of it runs when this object is gone.
  ~OrderedTasks() {
    for (const auto& task : tasks_) task->done.WaitForNotification();
  }

  // Takes the oldest result first when the window is full; its error is returned and
  // `work` is not started.
  absl::Status Start(Work work) {
    if (tasks_.size() >= window_) WDELTA_RETURN_IF_ERROR(TakeFront());
    auto task = std::make_shared<Task>();
    tasks_.push_back(task);
    pool_->Schedule([task, work = std::move(work)] {
      task->status = work(task->result);
      task->done.Notify();
    });
    return absl::OkStatus();
  }

  // Takes all that is left.
  absl::Status Finish() {
    while (!tasks_.empty()) WDELTA_RETURN_IF_ERROR(TakeFront());
    return absl::OkStatus();
  }

 private:
  struct Task {
    // Set by the pool before `done`.
    Result result;
    absl::Status status;
    absl::Notification done;
  };

  absl::Status TakeFront() {
    const std::shared_ptr<Task> task = tasks_.front();
    task->done.WaitForNotification();
    tasks_.pop_front();
    WDELTA_RETURN_IF_ERROR(task->status);
    return consume_(task->result);
  }

  ThreadPool* const pool_;
  const Consume consume_;
  const size_t window_;
  std::deque<std::shared_ptr<Task>> tasks_;
};

}  // namespace wdelta
