// Starts a garbage collection from time to time.
#pragma once

#include <functional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "spdlog/logger.h"

namespace wdelta {

// Owns its thread. An error is logged, and the next time tried again. Any thread may call
// it.
class GcTimer {
 public:
  // Adds a job and returns its id. Maintenance::StartGc, in the daemon.
  using StartGc = std::function<absl::StatusOr<std::string>()>;

  // For the first time after one interval; never, if that is zero. Does not own the log,
  // which must outlive it.
  GcTimer(StartGc start, absl::Duration interval, spdlog::logger* log);
  // Stops and joins.
  ~GcTimer();
  GcTimer(const GcTimer&) = delete;
  GcTimer& operator=(const GcTimer&) = delete;

  // Starts no further one. Returns at once.
  void RequestStop() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Work() ABSL_LOCKS_EXCLUDED(mutex_);

  const StartGc start_;
  const absl::Duration interval_;
  spdlog::logger* const log_;
  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace wdelta
