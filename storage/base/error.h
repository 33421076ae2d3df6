// Errors with a machine-readable cause.
//
// An absl::Status made here carries a reason and key-value details as payloads.
// server/rpc/status_map turns them into google.rpc.ErrorInfo. The message is for
// people and names the subject, what was expected and what was found.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace wdelta {

using ErrorDetails = std::vector<std::pair<std::string, std::string>>;

// `reason` is UPPER_SNAKE_CASE and stable, e.g. `NAME_TAKEN`.
absl::Status MakeError(absl::StatusCode code, absl::string_view reason, absl::string_view message,
                       const ErrorDetails& details = {});

// The reason given to MakeError, or empty.
std::string ErrorReason(const absl::Status& status);

// The details given to MakeError, in order of key.
ErrorDetails GetErrorDetails(const absl::Status& status);

// Same code and payloads, with `context: ` before the message.
absl::Status Annotate(const absl::Status& status, absl::string_view context);

}  // namespace wdelta
