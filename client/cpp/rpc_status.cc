#include "client/cpp/rpc_status.h"

#include <string>

#include "google/rpc/error_info.pb.h"
#include "storage/base/error.h"

namespace wdelta {

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  google::rpc::Status rich;
  google::rpc::ErrorInfo info;
  if (rich.ParseFromString(status.error_details())) {
    for (const google::protobuf::Any& detail : rich.details()) {
      if (!detail.UnpackTo(&info)) continue;
      const ErrorDetails details(info.metadata().begin(), info.metadata().end());
      return MakeError(code, info.reason(), status.error_message(), details);
    }
  }
  return absl::Status(code, status.error_message());
}

bool IsUnreachable(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

bool IsBusy(const absl::Status& status) {
  if (!absl::IsResourceExhausted(status)) return false;
  const std::string reason = ErrorReason(status);
  return reason == "TOO_MANY_FETCHES" || reason == "TOO_MANY_FOLDINGS" ||
         reason == "TOO_MANY_STREAMS" || reason == "TOO_MANY_CALLS";
}

}  // namespace wdelta
