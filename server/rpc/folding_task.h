// Plans the route of a FetchDelta and folds it where that is best, in a thread of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "storage/base/thread_pool.h"
#include "storage/engine/delta_fetch/delta_route.h"
#include "storage/engine/delta_fetch/folded_stream.h"

namespace wdelta {

// Where a client goes on that was interrupted.
struct ResumePoint {
  std::string delta_id;
  uint64_t offset = 0;

  // A delta of another id is sent from its beginning.
  uint64_t In(const DeltaStep& first) const { return first.delta_id == delta_id ? offset : 0; }
};

// Shared by the thread that runs it and the one that takes the route. `pool` must outlive Run.
class FoldingTask {
 public:
  struct Route {
    std::vector<DeltaStep> steps;  // the sources of a folded one are the stream's
    std::shared_ptr<FoldedStream> folded;
  };

  // A client that takes nothing of what is folded for `max_wait` is given up.
  FoldingTask(DeltaRoutePlanner planner, ResumePoint resume, ThreadPool* pool,
              absl::Duration max_wait)
      : resume_(std::move(resume)),
        pool_(pool),
        max_wait_(max_wait),
        planner_(std::move(planner)) {}
  FoldingTask(const FoldingTask&) = delete;
  FoldingTask& operator=(const FoldingTask&) = delete;

  // Until all is folded, or Cancel, in this thread, which must not be one of the pool's. Once.
  void Run() ABSL_LOCKS_EXCLUDED(mutex_);

  // Before the first TryTake. May be called once too often.
  void SetWaker(std::function<void()> waker) ABSL_LOCKS_EXCLUDED(mutex_);
  // Never blocks. Nullopt: it is not planned yet, and the waker will be called. A route is
  // given once. Errors: those of planning; CANCELLED.
  absl::StatusOr<std::optional<Route>> TryTake() ABSL_LOCKS_EXCLUDED(mutex_);
  void Cancel() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  absl::Status CheckAlive() const ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<Route> Plan();

  const ResumePoint resume_;
  ThreadPool* const pool_;
  const absl::Duration max_wait_;
  std::optional<DeltaRoutePlanner> planner_;  // of the running thread; null once it is planned

  mutable absl::Mutex mutex_;
  // Set when it is planned.
  std::optional<absl::StatusOr<Route>> route_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<FoldedStream> folded_ ABSL_GUARDED_BY(mutex_);
  bool is_cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::function<void()> waker_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta
