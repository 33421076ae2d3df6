// Connections that wait for the next bytes of their peers, all in one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/http/connection.h"

namespace wdelta {

// Any thread may call it, but not `ready` and `ended`, which are called without a lock.
class IdleConnections {
 public:
  using Take = std::function<void(ConnectionPtr)>;

  // `ready` gets a connection that can be read; `ended` one whose deadline has passed, or
  // that must make room, or all when it stops. RESOURCE_EXHAUSTED when the system has no
  // descriptors left.
  static absl::StatusOr<std::unique_ptr<IdleConnections>> Start(Take ready, Take ended);
  ~IdleConnections();
  IdleConnections(const IdleConnections&) = delete;
  IdleConnections& operator=(const IdleConnections&) = delete;

  void Add(ConnectionPtr connection) ABSL_LOCKS_EXCLUDED(mutex_);
  // Ends the one whose deadline is next; false: there is none.
  bool EndFirst() ABSL_LOCKS_EXCLUDED(mutex_);
  // Ends all, and those that are added later at once. May be repeated.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);
  // Until Stop, and until `ready` is not called any more. By one thread.
  void Join() {
    if (thread_.joinable()) thread_.join();
  }

 private:
  IdleConnections(int epoll, int wake, Take ready, Take ended);
  void Run() ABSL_LOCKS_EXCLUDED(mutex_);
  int TimeoutMs() ABSL_LOCKS_EXCLUDED(mutex_);
  void EndExpired() ABSL_LOCKS_EXCLUDED(mutex_);
  // Null: it is not here any more.
  ConnectionPtr Remove(uint64_t number) ABSL_LOCKS_EXCLUDED(mutex_);
  ConnectionPtr RemoveLocked(uint64_t number) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Wake();

  const int epoll_;
  const int wake_;  // an eventfd
  const Take ready_;
  const Take ended_;
  absl::Mutex mutex_;
  bool is_stopping_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t next_number_ ABSL_GUARDED_BY(mutex_) = 1;
  absl::flat_hash_map<uint64_t, ConnectionPtr> connections_ ABSL_GUARDED_BY(mutex_);
  std::set<std::pair<absl::Time, uint64_t>> deadlines_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace wdelta
