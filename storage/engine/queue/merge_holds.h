// Keeps the bytes of models that another is still to be computed from: keys `needed_by/`.
// Any thread may call it.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/queue/job_queue.h"
#include "store/v1/records.pb.h"

namespace wdelta {

// The models of a recipe: the base, if there is one, then the sources.
std::vector<std::string> MergeModelIds(const store::v1::MergeRecipe& recipe);

// Notes in the commit that makes `model` that its inputs are needed. The commit must require
// the versions in which they were live.
void HoldMergeInputs(const store::v1::ModelRecord& model, Commit& commit);

// Gives them back in a commit, as far as they are held, and adds a RECLAIM job for each that
// was deleted meanwhile. Harmless for a model that is not merged. The commit ends in
// ABORTED when one of them changes at the same time: try again.
absl::Status ReleaseMergeInputs(Catalog& catalog, JobQueue& jobs,
                                const store::v1::ModelRecord& model, Commit& commit);

}  // namespace wdelta
