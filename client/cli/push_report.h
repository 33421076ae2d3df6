// What push and import say while they run and when they are done.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/session.h"
#include "client/cpp/push.h"

namespace wdelta {

// Runs `push` with progress bars for the upload and, when waiting, for the job;
// prints the result.
absl::Status PushAndReport(
    Session& session, PushOptions options,
    const std::function<absl::StatusOr<PushResult>(Client&, const PushOptions&)>& push);

}  // namespace wdelta
