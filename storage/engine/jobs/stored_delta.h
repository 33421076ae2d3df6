// What a job does with a `.wdelta` that it has just stored: checks it, and makes it the
// model's own.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/content/delta_pieces.h"
#include "storage/engine/encoding/storage_plan.h"
#include "storage/engine/jobs/job_context.h"
#include "storage/wdelta/wdelta_file.h"

namespace wdelta {

// Sets pieces, digest, size, owner, storage parent and fetch cost in a record.
void SetDelta(const DeltaPieceWriter& pieces, const WdeltaFile& file, const StorageParent& parent,
              store::v1::ModelRecord& model);

// Reads back through the blob store what a fetch would read. DATA_LOSS
// (`VERIFICATION_FAILED`) names the file whose SHA-256 is not that of the record.
absl::Status VerifyDelta(const JobDependencies& deps, JobContext& context,
                         const store::v1::ModelRecord& model);

// Notes in a commit that a model is encoded against its storage parent, if any. The
// parent is written again, unchanged, so that a concurrent reclaim of it fails on its
// version and looks again. UNAVAILABLE when it was freed (`PARENT_GONE`) or has become
// deeper (`PARENT_MOVED`) meanwhile.
absl::Status HoldStorageParent(Models& models, const store::v1::ModelRecord& model, Commit& commit);

// Notes in a commit that a model is no longer encoded against the storage parent of its
// record, if any. A deleted parent may have been kept for this model alone: `jobs`, unless
// it is null, then gets a RECLAIM job for it. The commit fails when the parent changes
// meanwhile, as it does when it is deleted.
absl::Status LeaveStorageParent(Models& models, JobQueue* jobs, const store::v1::ModelRecord& model,
                                Commit& commit);

}  // namespace wdelta
