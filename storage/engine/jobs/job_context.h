// What the body of a job is given. A context is of the thread that runs the job.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/base/clock.h"
#include "storage/base/thread_pool.h"
#include "storage/blobs/blob_store.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/content/reader.h"
#include "storage/engine/content/staging.h"
#include "storage/engine/disk/disk_guard.h"
#include "storage/engine/models/models.h"
#include "storage/engine/parents/parent_choice.h"
#include "storage/engine/queue/job_queue.h"
#include "storage/engine/records/blob_claims.h"

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

// What jobs work with; not owned.
struct JobDependencies {
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

}  // namespace wdelta
