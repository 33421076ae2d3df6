// The SCRUB job: reads everything that is stored, verifies it, and mends what it can.
#pragma once

#include "absl/status/status.h"
#include "storage/engine/jobs/job_context.h"

namespace wdelta {

// Reads every blob of every model and every staged file and compares SHA-256 digests;
// then decodes every model whose blobs are whole and compares the digests of its files.
// What is damaged goes into the job's report, with the models that cannot be read for it.
// Where the job asks for repair, a damaged model is encoded again from content that
// other models have; see repair_source.h. Damage is not an error of the job. Safe to
// repeat: it begins anew.
absl::Status RunScrub(const JobDependencies& deps, JobContext& context);

}  // namespace wdelta
