// The body of INGEST, IMPORT and MERGE jobs: a staged upload, or what is computed from other
// models, becomes a verified `.wdelta`.
#pragma once

#include "absl/status/status.h"
#include "storage/base/thread_pool.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/jobs/job_context.h"
#include "storage/engine/records/blob_claims.h"

namespace wdelta {

// Encodes the job's model against the storage parent that promises the least
// (parent_choice.h), stores the pieces, decodes them
// again and compares the SHA-256 of every file; then one commit makes the model READY
// and ends the job. Nothing is visible before that commit, and repeating an
// interrupted run is safe. Errors: UNAVAILABLE and ABORTED may pass; CANCELLED also
// when the model was deleted meanwhile; others are final.
absl::Status RunIngest(const JobDependencies& deps, JobContext& context);

}  // namespace wdelta
