// The border between gRPC's statuses and ours. Any thread may call it.
#pragma once

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace wdelta {

// Same code and message. Reason and details come from the google.rpc.ErrorInfo in
// `grpc-status-details-bin`, when there is one (see storage/base/error.h).
absl::Status FromGrpcStatus(const grpc::Status& status);

// Whether the same call may succeed over another connection.
bool IsUnreachable(const absl::Status& status);

// Whether the server has as many calls or streams as it can serve: the same call may succeed
// a little later.
bool IsBusy(const absl::Status& status);

}  // namespace wdelta
