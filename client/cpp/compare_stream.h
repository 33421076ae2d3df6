// Answers of the Compare service, which come in parts and end with totals.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "client/cpp/rpc_status.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/sync_stream.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {

// Gives every part to `take`, on this thread; its error ends the call and is returned.
// DATA_LOSS (`TRUNCATED_STREAM`) when the last part is not the totals.
template <typename Response>
absl::Status TakeParts(absl::string_view what, grpc::ClientContext& context,
                       grpc::ClientReader<Response>& reader,
                       const std::function<absl::Status(const Response&)>& take) {
  bool has_totals = false;
  for (Response part; reader.Read(&part);) {
    const absl::Status taken = take(part);
    if (!taken.ok()) {
      context.TryCancel();
      reader.Finish();
      return taken;
    }
    has_totals = part.has_totals();
  }
  WDELTA_RETURN_IF_ERROR(FromGrpcStatus(reader.Finish()));
  if (has_totals) return absl::OkStatus();
  return MakeError(absl::StatusCode::kDataLoss, "TRUNCATED_STREAM",
                   absl::StrCat(what, ": expected totals at the end of the stream, found none"));
}

}  // namespace wdelta
