#include "storage/engine/queue/job_queue.h"

#include <algorithm>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/queue/job_failure.h"
#include "storage/engine/records/records.h"

namespace wdelta {
namespace {

using store::v1::JobRecord;

std::string CancelledText(absl::string_view id) {
  return absl::StrCat("job '", id, "' was cancelled");
}

}  // namespace

absl::Status JobNotFound(absl::string_view id) {
  return MakeError(absl::StatusCode::kNotFound, "JOB_NOT_FOUND", absl::StrCat("no job '", id, "'"));
}

class JobQueue::Running {
 public:
  // Null while another holds it. The job is let go of with the last copy of what is returned.
  static std::shared_ptr<const void> Enter(const std::shared_ptr<Running>& all,
                                           const std::string& id) {
    absl::MutexLock lock(&all->mutex_);
    if (!all->ids_.insert(id).second) return nullptr;
    return std::shared_ptr<const void>(all.get(), [all, id](const void*) {
      absl::MutexLock leaving(&all->mutex_);
      all->ids_.erase(id);
    });
  }

 private:
  absl::Mutex mutex_;
  absl::flat_hash_set<std::string> ids_ ABSL_GUARDED_BY(mutex_);
};

JobQueue::JobQueue(Catalog* catalog, IdGenerator* ids, const Clock* clock, std::string node_id)
    : catalog_(catalog),
      ids_(ids),
      clock_(clock),
      node_id_(std::move(node_id)),
      running_(std::make_shared<Running>()) {}

bool HasEnded(const JobRecord& job) {
  return job.state() == JobRecord::SUCCEEDED || job.state() == JobRecord::FAILED ||
         job.state() == JobRecord::CANCELLED;
}

std::string JobQueue::AddTo(Commit& commit, JobRecord::Kind kind,
                            const store::v1::ModelRecord& model, store::v1::Effort effort,
                            bool repair) {
  JobRecord job;
  job.set_id(ids_->Next());
  job.set_kind(kind);
  job.set_state(JobRecord::PENDING);
  job.set_model_id(model.id());
  job.set_model_name(model.name());
  job.set_total_bytes(kind == JobRecord::RECLAIM || kind == JobRecord::GC ? 0 : model.raw_bytes());
  job.set_effort(effort);
  job.set_repair(repair);
  job.set_create_time_us(ToMicros(clock_->Now()));
  job.set_update_time_us(job.create_time_us());
  commit.Require(keys::Job(job.id()), 0);
  commit.Write(keys::Job(job.id()), job.SerializeAsString());
  commit.Write(keys::Queue(job.id()), "");
  return job.id();
}

absl::StatusOr<Job> JobQueue::Get(const std::string& id) {
  WDELTA_ASSIGN_OR_RETURN(auto record, ReadRecord<JobRecord>(*catalog_, keys::Job(id)));
  if (!record.has_value()) return JobNotFound(id);
  return Job{std::move(record->message), record->version};
}

absl::StatusOr<std::vector<Job>> JobQueue::List(const std::string& after, uint32_t limit,
                                                bool* more) {
  const std::string end = after.empty() ? PrefixEnd(keys::kJobs) : keys::Job(after);
  WDELTA_ASSIGN_OR_RETURN(const ScanPage page,
                          catalog_->Scan({std::string(keys::kJobs), end, limit, true}));
  std::vector<Job> jobs;
  for (const Record& record : page.records) {
    WDELTA_ASSIGN_OR_RETURN(auto parsed, ParseRecord<JobRecord>(record));
    jobs.push_back({std::move(parsed.message), parsed.version});
  }
  *more = page.more;
  return jobs;
}

absl::StatusOr<std::unique_ptr<Watcher>> JobQueue::Watch(const std::string& id) {
  WDELTA_ASSIGN_OR_RETURN(const uint64_t revision, catalog_->CurrentRevision());
  return catalog_->Watch(keys::Job(id), revision);
}

absl::StatusOr<std::unique_ptr<Watcher>> JobQueue::WatchAll() {
  WDELTA_ASSIGN_OR_RETURN(const uint64_t revision, catalog_->CurrentRevision());
  return catalog_->Watch(std::string(keys::kQueue), revision);
}

absl::StatusOr<Job> JobQueue::RequestCancel(const std::string& id) {
  return RetryOnConflict([&]() -> absl::StatusOr<Job> {
    WDELTA_ASSIGN_OR_RETURN(Job job, Get(id));
    if (HasEnded(job.record)) {
      return MakeError(
          absl::StatusCode::kFailedPrecondition, "JOB_ENDED",
          absl::StrCat("job '", id, "' has ended as ", JobRecord::State_Name(job.record.state())));
    }
    Commit commit;
    commit.Require(keys::Job(id), job.version);
    job.record.set_cancel_requested(true);
    job.record.set_update_time_us(ToMicros(clock_->Now()));
    // A job that waits ends at once; one that runs ends when it sees the request.
    if (job.record.state() == JobRecord::PENDING) {
      job.record.set_state(JobRecord::CANCELLED);
      commit.Erase(keys::Queue(id));
      WDELTA_RETURN_IF_ERROR(AddJobFailure(*catalog_, *this, job.record, JobRecord::CANCELLED,
                                           CancelledText(id), commit));
    }
    commit.Write(keys::Job(id), job.record.SerializeAsString());
    WDELTA_ASSIGN_OR_RETURN(job.version, catalog_->Apply(commit));
    return job;
  });
}

absl::Status JobQueue::ReleaseOwn() {
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> ids,
                          ScanKeySuffixes(*catalog_, std::string(keys::kQueue)));
  for (const std::string& id : ids) {
    WDELTA_ASSIGN_OR_RETURN(Job job, Get(id));
    if (job.record.state() != JobRecord::RUNNING || job.record.owner() != node_id_) continue;
    job.record.set_state(JobRecord::PENDING);
    job.record.clear_owner();
    job.record.clear_lease_until_us();
    NoteInterruption(job.record);
    Commit commit;
    commit.Require(keys::Job(id), job.version);
    commit.Write(keys::Job(id), job.record.SerializeAsString());
    WDELTA_RETURN_IF_ERROR(catalog_->Apply(commit).status());
  }
  return absl::OkStatus();
}

// What it works on may be what ended the daemon: then others get their turn before it.
void JobQueue::NoteInterruption(JobRecord& job) {
  job.set_interruptions(job.interruptions() + 1);
  if (job.interruptions() <= limits::kQuickJobInterruptions) return;
  const uint32_t shift =
      std::min(job.interruptions() - limits::kQuickJobInterruptions - 1, limits::kMaxJobRetryShift);
  job.set_not_before_us(
      ToMicros(clock_->Now() + absl::Milliseconds(limits::kJobRetryDelayMs << shift)));
}

absl::StatusOr<bool> JobQueue::AnyDueBut(const std::string& id) {
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> waiting,
                          ScanKeySuffixes(*catalog_, std::string(keys::kQueue)));
  for (const std::string& other : waiting) {
    if (other == id) continue;
    const absl::StatusOr<Job> job = Get(other);
    if (absl::IsNotFound(job.status())) continue;  // ended in between
    WDELTA_RETURN_IF_ERROR(job.status());
    if (job->record.state() == JobRecord::PENDING && job->record.kind() != JobRecord::RECLAIM &&
        absl::FromUnixMicros(job->record.not_before_us()) <= clock_->Now()) {
      return true;
    }
  }
  return false;
}

absl::StatusOr<std::set<std::string>> JobQueue::ModelsToReclaim() {
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> ids,
                          ScanKeySuffixes(*catalog_, std::string(keys::kQueue)));
  std::set<std::string> models;
  for (const std::string& id : ids) {
    const absl::StatusOr<Job> job = Get(id);
    if (absl::IsNotFound(job.status())) continue;  // ended in between
    WDELTA_RETURN_IF_ERROR(job.status());
    if (job->record.kind() == JobRecord::RECLAIM) models.insert(job->record.model_id());
  }
  return models;
}

absl::StatusOr<JobQueue::Claim> JobQueue::ClaimNext() {
  Claim claim;
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> ids,
                          ScanKeySuffixes(*catalog_, std::string(keys::kQueue)));
  for (const std::string& id : ids) {
    absl::StatusOr<std::optional<Job>> job = TryClaim(id, claim.retry_at);
    if (absl::IsAborted(job.status())) continue;  // another worker was faster
    WDELTA_RETURN_IF_ERROR(job.status());
    if (job->has_value()) {
      claim.job = **std::move(job);
      return claim;
    }
  }
  return claim;
}

absl::StatusOr<std::optional<Job>> JobQueue::TryClaim(const std::string& id, absl::Time& retry_at) {
  const absl::Time now = clock_->Now();
  WDELTA_ASSIGN_OR_RETURN(auto record, ReadRecord<JobRecord>(*catalog_, keys::Job(id)));
  if (!record.has_value()) return std::optional<Job>();  // ended in between
  JobRecord& job = record->message;
  if (HasEnded(job)) return std::optional<Job>();
  const absl::Time due = absl::FromUnixMicros(
      job.state() == JobRecord::RUNNING ? job.lease_until_us() : job.not_before_us());
  if (due > now) {
    retry_at = std::min(retry_at, due);
    return std::optional<Job>();
  }
  std::shared_ptr<const void> running = Running::Enter(running_, id);
  if (running == nullptr) {
    // Its worker renews the lease or ends the job; one that waits is only just being let go of.
    const int64_t again_ms =
        job.state() == JobRecord::RUNNING ? limits::kJobLeaseMs : limits::kMinWorkerBackOffMs;
    retry_at = std::min(retry_at, now + absl::Milliseconds(again_ms));
    return std::optional<Job>();
  }
  job.set_state(JobRecord::RUNNING);
  job.set_owner(node_id_);
  job.set_attempts(job.attempts() + 1);
  job.set_done_bytes(0);
  job.set_lease_until_us(ToMicros(now + absl::Milliseconds(limits::kJobLeaseMs)));
  job.set_update_time_us(ToMicros(now));
  Commit commit;
  commit.Require(keys::Job(id), record->version);
  commit.Write(keys::Job(id), job.SerializeAsString());
  WDELTA_ASSIGN_OR_RETURN(const uint64_t version, catalog_->Apply(commit));
  return std::optional<Job>(Job{std::move(job), version, std::move(running)});
}

absl::StatusOr<Job> JobQueue::GetHeld(const Job& job) {
  WDELTA_ASSIGN_OR_RETURN(Job found, Get(job.record.id()));
  if (found.record.state() != JobRecord::RUNNING || found.record.owner() != node_id_ ||
      found.record.attempts() != job.record.attempts()) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "LEASE_LOST",
                     absl::StrCat("job '", job.record.id(), "' is no longer held by this worker"));
  }
  return found;
}

absl::Status JobQueue::CheckHeld(const Job& job) {
  WDELTA_ASSIGN_OR_RETURN(const Job found, GetHeld(job));
  if (!found.record.cancel_requested()) return absl::OkStatus();
  return absl::CancelledError(CancelledText(job.record.id()));
}

absl::Status JobQueue::Renew(Job& job) {
  return RetryOnConflict([&]() -> absl::Status {
    WDELTA_ASSIGN_OR_RETURN(const Job found, GetHeld(job));
    if (found.record.cancel_requested()) {
      return absl::CancelledError(CancelledText(job.record.id()));
    }
    const absl::Time now = clock_->Now();
    job.record.set_lease_until_us(ToMicros(now + absl::Milliseconds(limits::kJobLeaseMs)));
    job.record.set_update_time_us(ToMicros(now));
    Commit commit;
    commit.Require(keys::Job(job.record.id()), found.version);
    commit.Write(keys::Job(job.record.id()), job.record.SerializeAsString());
    WDELTA_ASSIGN_OR_RETURN(job.version, catalog_->Apply(commit));
    return absl::OkStatus();
  });
}

void JobQueue::AddEnd(Commit& commit, const Job& job, JobRecord::State state,
                      absl::string_view error) {
  JobRecord ended = job.record;
  ended.set_state(state);
  ended.set_error(std::string(error));
  ended.clear_owner();
  ended.clear_lease_until_us();
  ended.set_update_time_us(ToMicros(clock_->Now()));
  if (state == JobRecord::SUCCEEDED) ended.set_done_bytes(ended.total_bytes());
  commit.Require(keys::Job(ended.id()), job.version);
  commit.Write(keys::Job(ended.id()), ended.SerializeAsString());
  commit.Erase(keys::Queue(ended.id()));
}

absl::Status JobQueue::PutBack(const Job& job, absl::Duration delay, bool counts,
                               absl::string_view error) {
  JobRecord waiting = job.record;
  waiting.set_state(JobRecord::PENDING);
  waiting.set_error(std::string(error));
  waiting.clear_owner();
  waiting.clear_lease_until_us();
  waiting.clear_interruptions();
  if (counts) {
    waiting.set_failures(waiting.failures() + 1);
  } else {
    waiting.set_attempts(waiting.attempts() - 1);
  }
  waiting.set_not_before_us(ToMicros(clock_->Now() + delay));
  waiting.set_update_time_us(ToMicros(clock_->Now()));
  Commit commit;
  commit.Require(keys::Job(waiting.id()), job.version);
  commit.Write(keys::Job(waiting.id()), waiting.SerializeAsString());
  // Written again so that idle workers, who watch the queue, look at it.
  commit.Write(keys::Queue(waiting.id()), "");
  return catalog_->Apply(commit).status();
}

}  // namespace wdelta
