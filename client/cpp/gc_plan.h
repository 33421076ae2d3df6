// What a garbage collection of the store would do.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "client/cpp/client.h"

namespace wdelta {

// Calls `take`, on this thread, with the items in the order of maintenance.proto; its error
// ends the call and is returned. DATA_LOSS (`TRUNCATED_STREAM`) when the stream ends without
// its totals; other errors are the server's.
absl::Status PlanGc(Client& client,
                    const std::function<absl::Status(const v1::PlanGcResponse&)>& take);

}  // namespace wdelta
