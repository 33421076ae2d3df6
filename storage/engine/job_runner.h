// Runs one claimed job to its end, or puts it back. Any thread may call it, a job
// at a time each.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "storage/engine/jobs/job_context.h"
#include "storage/engine/queue/job_stats.h"

namespace wdelta {

class JobRunner {
 public:
  explicit JobRunner(const JobDependencies& dependencies) : deps_(dependencies) {}

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

  const JobDependencies deps_;
  JobStats stats_;
};

}  // namespace wdelta
