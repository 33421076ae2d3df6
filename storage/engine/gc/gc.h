// Garbage collection: the body of GC jobs.
#pragma once

#include "absl/status/status.h"
#include "storage/engine/jobs/job_context.h"

namespace wdelta {

// Deletes what the retention rules let go (retention.h), sweeps (sweep.h), frees deleted models
// that nothing is encoded against, and encodes others again so that more can go (gc_plan.h), one at
// a time: as long as that frees more than it costs, by estimate at first and then by the size of
// every new form. What goes wrong with one model is noted in the report and leaves the rest alone.
//
// Every step is complete by itself, and the next run looks at what it finds: an interrupted
// one is simply begun anew. UNAVAILABLE (`OTHERS_WAIT`) after a model that was encoded while
// other jobs wait for a worker.
absl::Status RunGc(const JobDependencies& deps, JobContext& context);

}  // namespace wdelta
