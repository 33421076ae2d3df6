// Removes what a crash may have left, and records that have served their time.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "storage/engine/jobs/job_context.h"

namespace wdelta {

struct Swept {
  uint64_t freed_bytes = 0;
  uint64_t orphan_blobs = 0;    // that nobody claims
  uint64_t orphan_claims = 0;   // of owners that are no model's form and no running job's
  uint64_t orphan_uploads = 0;  // staged bytes of no open upload and no model
  // Of uploads, with their request ids, and jobs that ended before kKeepEndedMs, and of runs
  // by label that no model belongs to.
  uint64_t old_records = 0;
};

struct SweepOptions {
  // The job that sweeps, if any: what it claimed in an earlier attempt counts as left.
  std::string job_id;
  // Only counts.
  bool dry_run = false;
  std::function<absl::Status()> alive;  // called often; an error ends the work
};

// Runs beside everything else: what is being written is claimed by a job that has not
// ended, and what a fetch reads is left alone. Adds to `swept`. Safe to repeat.
absl::Status Sweep(const JobDependencies& deps, const SweepOptions& options, Swept& swept);

}  // namespace wdelta
