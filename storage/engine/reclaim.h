// The body of RECLAIM jobs: frees what a deleted or repacked model no longer needs.
#pragma once

#include "absl/status/status.h"
#include "storage/engine/job_runner.h"

namespace wdelta {

// Frees the bytes of a deleted model unless another one is encoded against it, then
// those of its storage parents that were kept for it alone. A model with descendants
// in the lineage leaves a record of its name and parents. Of a model that lives, frees
// the blobs of its former stored forms. UNAVAILABLE (`MODEL_IN_USE`) while a fetch reads
// what is to be freed. Safe to repeat.
absl::Status RunReclaim(const JobRunner::Dependencies& deps, JobContext& context);

}  // namespace wdelta
