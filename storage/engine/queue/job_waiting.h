// Outcomes of a job that are no failures of it.
#pragma once

#include "absl/status/status.h"

namespace wdelta {

// Whether a job ended so because it waits for something else: it is put back and begun again, and
// no attempt has failed. Any thread.
bool IsWaiting(const absl::Status& outcome);

}  // namespace wdelta
