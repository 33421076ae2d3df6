#include "client/cpp/gc_plan.h"

#include "client/cpp/rpc_status.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {

absl::Status PlanGc(Client& client,
                    const std::function<absl::Status(const v1::PlanGcResponse&)>& take) {
  grpc::ClientContext context;
  const auto reader = client.maintenance().PlanGc(&context, v1::PlanGcRequest());
  bool has_totals = false;
  for (v1::PlanGcResponse item; reader->Read(&item);) {
    const absl::Status taken = take(item);
    if (!taken.ok()) {
      context.TryCancel();
      reader->Finish();
      return taken;
    }
    has_totals = item.has_totals();
  }
  WDELTA_RETURN_IF_ERROR(FromGrpcStatus(reader->Finish()));
  if (has_totals) return absl::OkStatus();
  return MakeError(absl::StatusCode::kDataLoss, "TRUNCATED_STREAM",
                   "gc: expected totals at the end of the stream, found none");
}

}  // namespace wdelta
