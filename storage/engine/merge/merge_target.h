// A merge made ready to be stored: trimmed and hashed.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/base/thread_pool.h"
#include "storage/engine/content/content_source.h"
#include "storage/engine/content/reader.h"
#include "storage/engine/merge/merge_plan.h"
#include "storage/engine/models/models.h"
#include "store/v1/records.pb.h"

namespace wdelta {

// Opens the base of a recipe, if it has one, and its sources, deleted ones too. NOT_FOUND,
// and the errors of Reader::Open.
absl::StatusOr<std::vector<MergeModel>> OpenMergeModels(const store::v1::MergeRecipe& recipe,
                                                        Models& models, Reader& reader);

// The merged model as a source whose digests are known. Computes all of it once, and reads
// the deltas twice more for TIES; in memory are a chunk of every model a thread and what is
// counted of a few chunks. `alive` is called often; its error ends the work. Must not be
// called from a thread of `pool`. Errors: those of PlanMerge, DATA_LOSS.
absl::StatusOr<ContentSourcePtr> OpenMerged(const store::v1::MergeRecipe& recipe,
                                            std::vector<MergeModel> models, Reader& reader,
                                            ThreadPool* pool,
                                            const std::function<absl::Status()>& alive);

}  // namespace wdelta
