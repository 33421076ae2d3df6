// The content of a damaged model, put together from wherever it still is.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/engine/content/content_source.h"
#include "storage/engine/jobs/job_context.h"
#include "store/v1/records.pb.h"

namespace wdelta {

// Takes every stream from the model itself where it reads right, otherwise from a model
// that has a stream of the same SHA-256: one with the same content, a relative by
// storage or lineage, or any that the index of contents names. Every stream is read and
// its digest compared before it is taken. FAILED_PRECONDITION (`NOT_REPAIRABLE`) names
// what nobody has.
absl::StatusOr<ContentSourcePtr> ComposeRepairSource(
    const JobDependencies& deps, const store::v1::ModelRecord& model,
    const std::function<absl::Status(uint64_t)>& advance);

}  // namespace wdelta
