// Does something from time to time: collects garbage, looks for expired uploads.
#pragma once

#include <functional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "spdlog/logger.h"

namespace wdelta {

// Owns its thread. An error is logged under the task's name, and the next time tried again.
// Any thread may call it.
class PeriodicTask {
 public:
  // Does it for the first time after one interval; never, if that is zero. Does not own the
  // log, which must outlive it.
  PeriodicTask(std::string name, std::function<absl::Status()> task, absl::Duration interval,
               spdlog::logger* log);
  // Stops and joins.
  ~PeriodicTask();
  PeriodicTask(const PeriodicTask&) = delete;
  PeriodicTask& operator=(const PeriodicTask&) = delete;

  // Does it no further time. Returns at once.
  void RequestStop() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Work() ABSL_LOCKS_EXCLUDED(mutex_);

  const std::string name_;
  const std::function<absl::Status()> task_;
  const absl::Duration interval_;
  spdlog::logger* const log_;
  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace wdelta
