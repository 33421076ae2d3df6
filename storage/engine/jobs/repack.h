// The body of REPACK jobs: a READY model is encoded again.
#pragma once

#include "absl/status/status.h"
#include "storage/engine/jobs/job_context.h"

namespace wdelta {

// Encodes the bytes that the model serves with the job's effort, against the storage
// parent that promises the least (parent_choice.h), stores the pieces beside the old ones,
// decodes them again and compares. When the new form is smaller, one commit makes it the
// model's, ends the job and adds another that frees the old form once no fetch reads it;
// otherwise the new form is dropped. Until the commit nothing changes, and repeating an
// interrupted run is safe. Errors: as RunIngest.
absl::Status RunRepack(const JobDependencies& deps, JobContext& context);

}  // namespace wdelta
