// Checks a stored form that lost something against what was uploaded.
#pragma once

#include "absl/status/statusor.h"
#include "storage/engine/content/content_source.h"
#include "storage/engine/encoding/lossy_plan.h"
#include "storage/engine/jobs/job_context.h"

namespace wdelta {

// Decodes what a fetch would decode and measures what the record will say. DATA_LOSS
// (`VERIFICATION_FAILED`) names the file or tensor: when a digest differs, when a tensor
// that was to stay as it is does not equal `uploaded`, when an error is not the one noted
// in the file, or when the tensors that share a target in `plan` exceed it.
absl::StatusOr<store::v1::FidelityOutcome> VerifyLossyDelta(const JobDependencies& deps,
                                                            JobContext& context,
                                                            const store::v1::ModelRecord& model,
                                                            const ContentSource& uploaded,
                                                            const LossyPlan& plan);

// Of an imported `.wdelta`, as its author noted it.
store::v1::FidelityOutcome OutcomeOf(const WdeltaFile& file);

}  // namespace wdelta
