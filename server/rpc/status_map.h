// The border between absl's statuses and gRPC's. Pure functions; any thread.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace wdelta {

inline constexpr char kErrorDomain[] = "wdelta";

// Same code; the message on one line of valid UTF-8; and a serialized
// google.rpc.Status with one ErrorInfo {reason, kErrorDomain, details}, which gRPC
// sends as `grpc-status-details-bin`. A status without a reason gets the name of its
// code as one.
grpc::Status ToGrpcStatus(const absl::Status& status);

// The reason that ToGrpcStatus sends.
std::string WireReason(const absl::Status& status);

}  // namespace wdelta
