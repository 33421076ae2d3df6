// What becomes of a model when its job does not succeed. Any thread may call it.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/queue/job_queue.h"
#include "store/v1/records.pb.h"

namespace wdelta {

// Adds it to the commit that ends the job as `state`, FAILED or CANCELLED. A model that was
// to be imported or merged becomes FAILED with the error `why`, since nothing of it can be
// served, and lets go of what it was to be computed from; so does one that is not served
// before it is known with what loss. Any other that was uploaded becomes FAILED only with
// its job and is served from the uploaded bytes either way.
absl::Status AddJobFailure(Catalog& catalog, JobQueue& jobs, const store::v1::JobRecord& job,
                           store::v1::JobRecord::State state, absl::string_view why,
                           Commit& commit);

// Whether an error that came up while a job works on one of many models concerns the job
// itself: it is to stop, was cancelled, or is another worker's by now.
bool EndsJob(const absl::Status& status);

}  // namespace wdelta
