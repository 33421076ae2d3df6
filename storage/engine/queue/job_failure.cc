#include "storage/engine/queue/job_failure.h"

#include <string>

#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/queue/merge_holds.h"
#include "storage/engine/records/fidelity.h"
#include "storage/engine/records/records.h"

namespace wdelta {

using store::v1::JobRecord;
using store::v1::ModelRecord;

absl::Status AddJobFailure(Catalog& catalog, JobQueue& jobs, const JobRecord& job,
                           JobRecord::State state, absl::string_view why, Commit& commit) {
  const std::string key = keys::Model(job.model_id());
  WDELTA_ASSIGN_OR_RETURN(auto model, ReadRecord<ModelRecord>(catalog, key));
  if (!model.has_value()) return absl::OkStatus();
  ModelRecord& record = model->message;
  const bool is_lost =
      record.state() == ModelRecord::IMPORTING ||
      (record.state() == ModelRecord::STAGED && (state == JobRecord::FAILED || AwaitsLoss(record)));
  if (!is_lost) return absl::OkStatus();
  record.set_state(ModelRecord::FAILED);
  record.set_error(std::string(why));
  commit.Require(key, model->version).Write(key, record.SerializeAsString());
  return ReleaseMergeInputs(catalog, jobs, record, commit);
}

bool EndsJob(const absl::Status& status) {
  const std::string reason = ErrorReason(status);
  return reason == "STOPPING" || reason == "LEASE_LOST" ||
         (absl::IsCancelled(status) && reason != "MODEL_DELETED");
}

}  // namespace wdelta
