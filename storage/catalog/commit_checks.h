// Argument checks and errors that every catalog shares. Pure functions.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "storage/catalog/catalog.h"

namespace wdelta {

// INVALID_ARGUMENT: an empty key, or a key that is written twice or both written
// and deleted.
absl::Status CheckCommit(const Commit& commit);

// INVALID_ARGUMENT: no limit.
absl::Status CheckScan(const ScanRequest& request);

// ABORTED (`CONFLICT`, detail `key`) unless `found_version` is what is required.
absl::Status CheckCondition(const Commit::Condition& condition, uint64_t found_version);

}  // namespace wdelta
