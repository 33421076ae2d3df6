// The uploads by which commits come into the store, told from others by their request id.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "storage/engine/uploads/uploads.h"

namespace wdelta {

// Of no other upload. Any thread.
std::string NewCommitRequestId();

// Cancels those that are open, whose daemon ended before they did: nobody goes on with them.
// Before the first commit. Errors of Uploads.
absl::Status CancelCommitUploads(Uploads& uploads);

}  // namespace wdelta
