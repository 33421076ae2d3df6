// The threads that requests are served in.
#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/http/connection.h"

namespace wdelta {

// Connections beyond the threads wait for one in order of arrival; how many there may be is
// the caller's to bound. Any thread may call it.
class ConnectionThreads {
 public:
  ConnectionThreads(int thread_count, std::function<void(ConnectionPtr)> serve)
      : serve_(std::move(serve)) {
    for (int i = 0; i < thread_count; ++i) threads_.emplace_back([this] { Run(); });
  }
  ~ConnectionThreads() { Stop(); }
  ConnectionThreads(const ConnectionThreads&) = delete;
  ConnectionThreads& operator=(const ConnectionThreads&) = delete;

  // Not after Stop.
  void Add(ConnectionPtr connection) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    waiting_.push_back(std::move(connection));
  }

  // Returns when all that were added have been served. May be repeated, by one thread.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_) {
    {
      absl::MutexLock lock(&mutex_);
      is_stopping_ = true;
    }
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  bool HasWorkOrStops() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return is_stopping_ || !waiting_.empty();
  }

  void Run() ABSL_LOCKS_EXCLUDED(mutex_) {
    while (true) {
      ConnectionPtr connection;
      {
        absl::MutexLock lock(&mutex_);
        mutex_.Await(absl::Condition(this, &ConnectionThreads::HasWorkOrStops));
        if (waiting_.empty()) return;
        connection = std::move(waiting_.front());
        waiting_.pop_front();
      }
      serve_(std::move(connection));
    }
  }

  const std::function<void(ConnectionPtr)> serve_;
  absl::Mutex mutex_;
  bool is_stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<ConnectionPtr> waiting_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

}  // namespace wdelta
