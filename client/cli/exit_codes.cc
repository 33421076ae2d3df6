#include "client/cli/exit_codes.h"

#include "absl/strings/str_cat.h"
#include "client/cli/text.h"
#include "client/cpp/local_files.h"
#include "storage/base/error.h"

namespace wdelta {

ExitCode ExitCodeOf(const absl::Status& status) {
  if (ErrorReason(status) == "INTERRUPTED") return ExitCode::kInterrupted;
  if (ErrorReason(status) == kLocalFileReason) return ExitCode::kLocalFile;
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return ExitCode::kOk;
    case absl::StatusCode::kNotFound:
      return ExitCode::kNotFound;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kAborted:
      return ExitCode::kConflict;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return ExitCode::kInvalidInput;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return ExitCode::kUnreachable;
    case absl::StatusCode::kDataLoss:
      return ExitCode::kDataLoss;
    case absl::StatusCode::kResourceExhausted:
      return ExitCode::kResourceExhausted;
    case absl::StatusCode::kFailedPrecondition:
      return ExitCode::kFailedPrecondition;
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return ExitCode::kNotPermitted;
    default:
      return ExitCode::kOtherError;
  }
}

std::string ErrorLine(absl::string_view what, const absl::Status& status) {
  std::string message(status.message());
  if (message.empty()) message = absl::StatusCodeToString(status.code());
  const std::string reason = ErrorReason(status);
  return Printable(absl::StrCat("wdelta: ", what, ": ", message,
                                reason.empty() ? "" : absl::StrCat(" [", reason, "]")));
}

}  // namespace wdelta
