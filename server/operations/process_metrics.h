// What the operating system tells of this process. Any thread.
#pragma once

#include "absl/status/status.h"
#include "server/operations/metric_writer.h"

namespace wdelta {

// INTERNAL where /proc cannot be read.
absl::Status CollectProcess(MetricWriter& writer);

}  // namespace wdelta
