// The threads that connections run in.
#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "httplib.h"
#include "server/http/http_limits.h"

namespace wdelta {

// Connections beyond the threads wait here, and when kMaxWaitingConnections do, beyond
// those in the kernel's queue, because enqueue blocks the thread that accepts.
class ConnectionThreads final : public httplib::TaskQueue {
 public:
  explicit ConnectionThreads(int thread_count) {
    for (int i = 0; i < thread_count; ++i) threads_.emplace_back([this] { Run(); });
  }

  void enqueue(std::function<void()> connection) override ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &ConnectionThreads::HasRoom));
    waiting_.push_back(std::move(connection));
  }

  // Once. Returns when all connections have ended.
  void shutdown() override ABSL_LOCKS_EXCLUDED(mutex_) {
    {
      absl::MutexLock lock(&mutex_);
      is_stopping_ = true;
    }
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  bool HasRoom() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return waiting_.size() < http_limits::kMaxWaitingConnections;
  }
  bool HasWorkOrStops() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return is_stopping_ || !waiting_.empty();
  }

  void Run() ABSL_LOCKS_EXCLUDED(mutex_) {
    while (true) {
      std::function<void()> connection;
      {
        absl::MutexLock lock(&mutex_);
        mutex_.Await(absl::Condition(this, &ConnectionThreads::HasWorkOrStops));
        if (waiting_.empty()) return;
        connection = std::move(waiting_.front());
        waiting_.pop_front();
      }
      connection();
    }
  }

  absl::Mutex mutex_;
  bool is_stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<std::function<void()>> waiting_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

}  // namespace wdelta
