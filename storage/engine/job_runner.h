// Runs one claimed job to its end, or puts it back. Any thread may call it, a job
// at a time each.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "storage/base/clock.h"
#include "storage/base/thread_pool.h"
#include "storage/blobs/blob_store.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/blob_claims.h"
#include "storage/engine/disk_guard.h"
#include "storage/engine/job_queue.h"
#include "storage/engine/job_stats.h"
#include "storage/engine/models.h"
#include "storage/engine/parent_choice.h"
#include "storage/engine/reader.h"
#include "storage/engine/staging.h"

namespace wdelta {

// What a job's body needs of its surroundings.
class JobContext {
 public:
  JobContext(JobQueue* queue, Job job, const Clock* clock, std::function<bool()> stopping)
      : queue_(queue), job_(std::move(job)), clock_(clock), stopping_(std::move(stopping)) {}

  // Counts work done; saves it and prolongs the lease from time to time. CANCELLED
  // when the job was cancelled, which is looked for every few milliseconds; UNAVAILABLE
  // (`STOPPING`) when the daemon stops; FAILED_PRECONDITION (`LEASE_LOST`).
  absl::Status Advance(uint64_t bytes);
  // Saves what there is at once. Errors: as JobQueue::Renew.
  absl::Status Save();
  // The work begins anew.
  void ResetDone() { job_.record.set_done_bytes(0); }

  const Job& job() const { return job_; }
  // For commits that make the job's work count; see JobQueue::GetHeld.
  absl::StatusOr<Job> Held() const { return queue_->GetHeld(job_); }
  bool IsStopping() const { return stopping_(); }

  // Of a GC; saved with the progress.
  store::v1::GcReport& gc_report() { return *job_.record.mutable_gc_report(); }
  // Likewise of a SCRUB, and how much it has to read.
  store::v1::ScrubReport& scrub_report() { return *job_.record.mutable_scrub_report(); }
  void SetTotal(uint64_t bytes) { job_.record.set_total_bytes(bytes); }

 private:
  JobQueue* const queue_;
  Job job_;
  const Clock* const clock_;
  const std::function<bool()> stopping_;
  absl::Time last_save_ = absl::InfinitePast();
  absl::Time last_check_ = absl::InfinitePast();
};

class JobRunner {
 public:
  struct Dependencies {
    Catalog* catalog = nullptr;
    JobQueue* queue = nullptr;
    Models* models = nullptr;
    Reader* reader = nullptr;
    Staging* staging = nullptr;
    BlobClaims* claims = nullptr;
    ThreadPool* pool = nullptr;
    const Clock* clock = nullptr;
    StoragePolicy policy;
    BlobStore* blobs = nullptr;
    DiskGuard* disk = nullptr;
  };
  explicit JobRunner(const Dependencies& dependencies) : deps_(dependencies) {}

  // `stopping` is asked often; when true the job is put back soon. The returned
  // status is for the log: the job's own end is in its record.
  absl::Status Run(Job job, std::function<bool()> stopping);

  // Of the runs that have ended.
  const JobStats& stats() const { return stats_; }

 private:
  absl::Status Work(JobContext& context);
  absl::Status OutcomeOf(const store::v1::JobRecord& job, absl::Status worked);
  absl::Status Settle(const Job& job, const absl::Status& outcome, RunResult result);
  absl::Status Fail(const Job& job, store::v1::JobRecord::State state, const absl::Status& why);
  absl::Status ReleaseClaims(const Job& job);

  const Dependencies deps_;
  JobStats stats_;
};

}  // namespace wdelta
