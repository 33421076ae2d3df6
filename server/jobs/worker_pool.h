// Threads that take jobs from the durable queue and run them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "spdlog/logger.h"
#include "storage/engine/queue/job_queue.h"

namespace wdelta {

// Idle threads wait for the queue to change or for the next job to become due. An
// error is logged and never ends a thread; while the queue cannot be read, threads
// back off. Any thread may call it.
class WorkerPool {
 public:
  // Runs one claimed job; asks `stopping` often. JobRunner::Run, in the daemon.
  using RunJob = std::function<absl::Status(Job job, std::function<bool()> stopping)>;

  // Does not own queue and log, which must outlive it.
  WorkerPool(JobQueue* queue, RunJob run, int thread_count, spdlog::logger* log);
  // Stops and joins.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Running jobs are asked to stop, which puts them back into the queue; no further
  // one is taken. Returns at once.
  void RequestStop() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Work(size_t index) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status WorkUntilError(size_t index, bool& made_progress) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<Watcher*> NewWatcher(size_t index) ABSL_LOCKS_EXCLUDED(mutex_);
  void RunLogged(Job job) ABSL_LOCKS_EXCLUDED(mutex_);
  // The reason why a job waits, as the log has told it; empty: none was told.
  std::string WaitsFor(const std::string& job_id) ABSL_LOCKS_EXCLUDED(mutex_);
  void SetWaitsFor(const std::string& job_id, const std::string& reason)
      ABSL_LOCKS_EXCLUDED(mutex_);
  bool IsStopping() ABSL_LOCKS_EXCLUDED(mutex_);
  void BackOff(absl::Duration delay) ABSL_LOCKS_EXCLUDED(mutex_);

  JobQueue* const queue_;
  const RunJob run_;
  spdlog::logger* const log_;

  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // A job that waits is begun again and again: one line for each reason tells of it.
  absl::flat_hash_map<std::string, std::string> waiting_ ABSL_GUARDED_BY(mutex_);
  // Of each thread, which alone replaces it; here so that RequestStop can wake it.
  std::vector<std::unique_ptr<Watcher>> watchers_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

}  // namespace wdelta
