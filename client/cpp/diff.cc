#include "client/cpp/diff.h"

#include "client/cpp/rpc_status.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {

absl::Status DiffModels(Client& client, const v1::DiffRequest& request,
                        const std::function<absl::Status(const v1::DiffResponse&)>& take) {
  grpc::ClientContext context;
  const auto reader = client.compare().Diff(&context, request);
  bool has_totals = false;
  for (v1::DiffResponse part; reader->Read(&part);) {
    const absl::Status taken = take(part);
    if (!taken.ok()) {
      context.TryCancel();
      reader->Finish();
      return taken;
    }
    has_totals = part.has_totals();
  }
  WDELTA_RETURN_IF_ERROR(FromGrpcStatus(reader->Finish()));
  if (has_totals) return absl::OkStatus();
  return MakeError(absl::StatusCode::kDataLoss, "TRUNCATED_STREAM",
                   "diff: expected totals at the end of the stream, found none");
}

}  // namespace wdelta
