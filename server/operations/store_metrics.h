// What the engine tells of models, jobs, fetches, caches and the disk. Any thread; none of
// them reads more of the catalog than has changed since it was asked last.
#pragma once

#include "absl/status/status.h"
#include "server/operations/metric_writer.h"
#include "storage/engine/model_store.h"

namespace wdelta {

// The catalog's errors.
absl::Status CollectModels(ModelStore& store, MetricWriter& writer);
// Likewise.
absl::Status CollectJobs(ModelStore& store, MetricWriter& writer);
void CollectFetches(ModelStore& store, MetricWriter& writer);
// The file system's errors.
absl::Status CollectDisk(ModelStore& store, MetricWriter& writer);

}  // namespace wdelta
