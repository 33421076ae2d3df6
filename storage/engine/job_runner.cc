#include "storage/engine/job_runner.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/gc/gc.h"
#include "storage/engine/jobs/ingest.h"
#include "storage/engine/jobs/reclaim.h"
#include "storage/engine/jobs/repack.h"
#include "storage/engine/jobs/rewrite.h"
#include "storage/engine/queue/job_failure.h"
#include "storage/engine/queue/job_waiting.h"
#include "storage/engine/records/records.h"
#include "storage/engine/scrub/scrub.h"

namespace wdelta {
namespace {

using store::v1::JobRecord;
using store::v1::ModelRecord;

constexpr absl::Duration kMinWaitForOthers = absl::Milliseconds(300);
constexpr absl::Duration kMaxWaitForOthers = absl::Seconds(3);
constexpr absl::Duration kWaitForSpace = absl::Milliseconds(limits::kDiskFullRetryMs);

// A tenth of the job's age: one that waits long looks seldom, and begins late by little.
absl::Duration WaitForOthers(const JobRecord& job, absl::Time now) {
  const absl::Duration age = now - absl::FromUnixMicros(job.create_time_us());
  return std::clamp(age / 10, kMinWaitForOthers, kMaxWaitForOthers);
}

// May pass by itself: worth another attempt.
bool IsTransient(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsAborted(status) ||
         absl::IsResourceExhausted(status) || absl::IsNotFound(status) || absl::IsInternal(status);
}

RunResult ResultOf(const JobRecord& job, const absl::Status& outcome) {
  if (outcome.ok()) return RunResult::kSucceeded;
  // Whoever has the lease goes on with the job.
  if (IsWaiting(outcome) || ErrorReason(outcome) == "LEASE_LOST") return RunResult::kPutBack;
  if (absl::IsCancelled(outcome)) return RunResult::kCancelled;
  const bool is_retried = IsTransient(outcome) && job.failures() + 1 < limits::kMaxJobFailures;
  return is_retried ? RunResult::kRetried : RunResult::kFailed;
}

}  // namespace

absl::Status JobRunner::Run(Job job, std::function<bool()> stopping) {
  const JobRecord begun = job.record;
  const absl::Time start = deps_.clock->Now();
  JobContext context(deps_.queue, std::move(job), deps_.clock, std::move(stopping));
  absl::Status outcome;
  if (begun.interruptions() >= limits::kMaxJobInterruptions) {
    outcome = MakeError(absl::StatusCode::kFailedPrecondition, "JOB_INTERRUPTED",
                        absl::StrCat("the daemon ended ", begun.interruptions(),
                                     " times in a row while this job ran"));
  } else {
    outcome = OutcomeOf(begun, Work(context));
  }
  const RunResult result = ResultOf(begun, outcome);
  absl::Status settled = Settle(context.job(), outcome, result);
  stats_.Add(begun, context.job().record, result, deps_.clock->Now() - start);
  return settled;
}

// A model that was deleted meanwhile may be missed anywhere. That is nobody's fault.
absl::Status JobRunner::OutcomeOf(const JobRecord& job, absl::Status worked) {
  const bool is_of_model = job.kind() == JobRecord::INGEST || job.kind() == JobRecord::IMPORT ||
                           job.kind() == JobRecord::MERGE || job.kind() == JobRecord::REPACK;
  if (worked.ok() || EndsJob(worked) || !is_of_model) return worked;
  const absl::StatusOr<std::optional<Model>> model = deps_.models->GetById(job.model_id());
  const bool is_deleted =
      model.ok() && (!model->has_value() || (*model)->record.state() == ModelRecord::DELETED);
  return is_deleted ? absl::CancelledError("the model was deleted") : worked;
}

absl::Status JobRunner::Work(JobContext& context) {
  switch (context.job().record.kind()) {
    case JobRecord::INGEST:
    case JobRecord::IMPORT:
    case JobRecord::MERGE:
      return RunIngest(deps_, context);
    case JobRecord::REPACK:
      return RunRepack(deps_, context);
    case JobRecord::RECLAIM:
      return RunReclaim(deps_, context);
    case JobRecord::SCRUB:
      return RunScrub(deps_, context);
    case JobRecord::GC:
      return RunGc(deps_, context);
    default:
      return absl::UnimplementedError("a kind of job that this version does not know");
  }
}

absl::Status JobRunner::Settle(const Job& held, const absl::Status& outcome, RunResult result) {
  WDELTA_ASSIGN_OR_RETURN(const Job job, deps_.queue->Get(held.record.id()));
  const bool ours =
      job.record.state() == JobRecord::RUNNING && job.record.attempts() == held.record.attempts();
  if (!ours) return outcome;  // ended by its own commit, or taken over
  const std::string why(outcome.message());
  absl::Status settled;
  switch (result) {
    case RunResult::kSucceeded: {
      Commit commit;
      deps_.queue->AddEnd(commit, job, JobRecord::SUCCEEDED, "");
      return deps_.catalog->Apply(commit).status();
    }
    case RunResult::kPutBack: {
      const bool needs_space = ErrorReason(outcome) == "DISK_FULL";
      const absl::Duration wait =
          needs_space ? kWaitForSpace : WaitForOthers(job.record, deps_.clock->Now());
      settled = deps_.queue->PutBack(job, wait, false, why);
      break;
    }
    case RunResult::kRetried: {
      const int64_t delay_ms = limits::kJobRetryDelayMs << (job.record.failures() + 1);
      settled = deps_.queue->PutBack(job, absl::Milliseconds(delay_ms), true, why);
      break;
    }
    case RunResult::kCancelled:
      settled = Fail(job, JobRecord::CANCELLED, outcome);
      break;
    case RunResult::kFailed:
      settled = Fail(job, JobRecord::FAILED, outcome);
      break;
  }
  return settled.ok() ? outcome : settled;
}

absl::Status JobRunner::Fail(const Job& job, JobRecord::State state, const absl::Status& why) {
  const absl::Status ended = RetryOnConflict([&]() -> absl::Status {
    WDELTA_ASSIGN_OR_RETURN(const Job current, deps_.queue->GetHeld(job));
    Commit commit;
    deps_.queue->AddEnd(commit, current, state, why.message());
    WDELTA_RETURN_IF_ERROR(
        AddJobFailure(*deps_.catalog, *deps_.queue, current.record, state, why.message(), commit));
    return deps_.catalog->Apply(commit).status();
  });
  WDELTA_RETURN_IF_ERROR(ended);
  // Not before: another attempt, had the job been taken over, would claim the same.
  return ReleaseClaims(job);
}

// What the attempt stored is of no use; the staged or former bytes are kept and served.
absl::Status JobRunner::ReleaseClaims(const Job& job) {
  switch (job.record.kind()) {
    case JobRecord::REPACK:
      return ReleaseFailedForm(deps_, job.record.model_id(),
                               RepackOwner(job.record.model_id(), job.record.id()));
    case JobRecord::INGEST:
    case JobRecord::IMPORT:
    case JobRecord::MERGE:
      return deps_.claims->ReleaseAll(job.record.model_id());
    default:
      return absl::OkStatus();  // a GC leaves them to the next
  }
}

}  // namespace wdelta
