#include "storage/engine/jobs/repack.h"

#include "storage/base/status_macros.h"
#include "storage/engine/jobs/rewrite.h"

namespace wdelta {

using store::v1::JobRecord;
using store::v1::ModelRecord;

absl::Status RunRepack(const JobDependencies& deps, JobContext& context) {
  const JobRecord& job = context.job().record;
  RewriteRequest request;
  request.model_id = job.model_id();
  request.owner = RepackOwner(job.model_id(), job.id());
  request.effort = static_cast<Effort>(job.effort());
  request.is_small_enough = [](const RewriteOutcome& outcome) {
    return outcome.stored_bytes < outcome.former_bytes;
  };
  request.add_to_commit = [&](const ModelRecord& record, Commit& commit) -> absl::Status {
    WDELTA_ASSIGN_OR_RETURN(const Job held, context.Held());
    deps.queue->AddTo(commit, JobRecord::RECLAIM, record);
    deps.queue->AddEnd(commit, held, JobRecord::SUCCEEDED, "");
    return absl::OkStatus();
  };
  return RewriteModel(deps, context, request).status();
}

}  // namespace wdelta
