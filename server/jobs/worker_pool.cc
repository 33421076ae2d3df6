#include "server/jobs/worker_pool.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/queue/job_waiting.h"

namespace wdelta {

WorkerPool::WorkerPool(JobQueue* queue, RunJob run, int thread_count, spdlog::logger* log)
    : queue_(queue), run_(std::move(run)), log_(log), watchers_(thread_count) {
  threads_.reserve(thread_count);
  for (int i = 0; i < thread_count; ++i) threads_.emplace_back([this, i] { Work(i); });
}

WorkerPool::~WorkerPool() {
  RequestStop();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::RequestStop() {
  absl::MutexLock lock(&mutex_);
  stopping_ = true;
  for (const std::unique_ptr<Watcher>& watcher : watchers_) {
    if (watcher != nullptr) watcher->Stop();
  }
}

bool WorkerPool::IsStopping() {
  absl::MutexLock lock(&mutex_);
  return stopping_;
}

void WorkerPool::BackOff(absl::Duration delay) {
  absl::MutexLock lock(&mutex_);
  mutex_.AwaitWithTimeout(absl::Condition(&stopping_), delay);
}

void WorkerPool::Work(size_t index) {
  const absl::Duration least = absl::Milliseconds(limits::kMinWorkerBackOffMs);
  absl::Duration delay = least;
  while (!IsStopping()) {
    bool made_progress = false;
    const absl::Status status = WorkUntilError(index, made_progress);
    if (status.ok()) continue;
    if (made_progress) delay = least;
    log_->error("job queue: {}; next try in {:.1f} s", status.ToString(),
                absl::ToDoubleSeconds(delay));
    BackOff(delay);
    delay = std::min(delay * 2, absl::Milliseconds(limits::kMaxWorkerBackOffMs));
  }
}

absl::StatusOr<Watcher*> WorkerPool::NewWatcher(size_t index) {
  WDELTA_ASSIGN_OR_RETURN(std::unique_ptr<Watcher> watcher, queue_->WatchAll());
  absl::MutexLock lock(&mutex_);
  watchers_[index] = std::move(watcher);
  if (stopping_) watchers_[index]->Stop();
  return watchers_[index].get();
}

absl::Status WorkerPool::WorkUntilError(size_t index, bool& made_progress) {
  // Made before the queue is looked at: no change falls between the two.
  WDELTA_ASSIGN_OR_RETURN(Watcher * watcher, NewWatcher(index));
  while (!IsStopping()) {
    WDELTA_ASSIGN_OR_RETURN(JobQueue::Claim claim, queue_->ClaimNext());
    made_progress = true;
    if (claim.job.has_value()) {
      RunLogged(*std::move(claim.job));
      continue;
    }
    const absl::StatusOr<std::vector<Change>> changes = watcher->Next(claim.retry_at);
    if (absl::IsOutOfRange(changes.status())) return absl::OkStatus();  // lagged: a fresh one
    WDELTA_RETURN_IF_ERROR(changes.status());
  }
  return absl::OkStatus();
}

std::string WorkerPool::WaitsFor(const std::string& job_id) {
  absl::MutexLock lock(&mutex_);
  const auto found = waiting_.find(job_id);
  return found == waiting_.end() ? "" : found->second;
}

void WorkerPool::SetWaitsFor(const std::string& job_id, const std::string& reason) {
  absl::MutexLock lock(&mutex_);
  if (reason.empty()) {
    waiting_.erase(job_id);
    return;
  }
  // Those that were cancelled while they waited are still there.
  if (waiting_.size() >= limits::kMaxToldJobs) waiting_.clear();
  waiting_[job_id] = reason;
}

void WorkerPool::RunLogged(Job job) {
  const std::string id = job.record.id();
  std::string what = store::v1::JobRecord::Kind_Name(job.record.kind());
  if (!job.record.model_id().empty()) {
    what += " of model " + job.record.model_id() + " (" + job.record.model_name() + ")";
  }
  const std::string waited_for = WaitsFor(id);
  log_->log(waited_for.empty() ? spdlog::level::info : spdlog::level::debug,
            "job {}: {} begins, attempt {}", id, what, job.record.attempts());
  const absl::Time start = absl::Now();
  const absl::Status status = run_(std::move(job), [this] { return IsStopping(); });
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  const std::string waits_for = IsWaiting(status) ? ErrorReason(status) : "";
  SetWaitsFor(id, waits_for);
  if (status.ok()) {
    log_->info("job {}: {} done in {:.3f} s", id, what, seconds);
  } else if (!waits_for.empty()) {
    const auto first =
        absl::IsResourceExhausted(status) ? spdlog::level::warn : spdlog::level::info;
    log_->log(waits_for == waited_for ? spdlog::level::debug : first, "job {}: {} waits: {}", id,
              what, status.ToString());
  } else {
    log_->warn("job {}: {} ended after {:.3f} s: {}", id, what, seconds, status.ToString());
  }
}

}  // namespace wdelta
