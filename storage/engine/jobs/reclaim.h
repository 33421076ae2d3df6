// Frees what deleted and repacked models no longer need: the body of RECLAIM jobs, and a
// part of garbage collection.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "storage/engine/jobs/job_context.h"

namespace wdelta {

struct Reclaimed {
  uint64_t freed_bytes = 0;  // of blobs
  uint64_t models_freed = 0;
};

// Frees the bytes of a deleted model unless another one is encoded against it or still to
// be computed from it, and then adds a RECLAIM job to `next`, unless it is null, for its
// storage parent if that was kept for it alone. A model with descendants in the lineage
// leaves a record of its name and parents. Of any model, frees the blobs of its former
// stored forms. Adds what it did to `reclaimed`. UNAVAILABLE (`MODEL_IN_USE`) while a fetch
// reads what is to be freed. Safe to repeat. Any thread may call it.
absl::Status ReclaimModel(const JobDependencies& deps, const std::string& id, JobQueue* next,
                          Reclaimed& reclaimed);

// Erases the record of a deleted model that holds no bytes and has no descendant, then
// those of its parents that waited for just that.
absl::Status EraseTombstones(const JobDependencies& deps, const std::string& id);

absl::Status RunReclaim(const JobDependencies& deps, JobContext& context);

}  // namespace wdelta
