#include "client/cpp/backup.h"

#include <optional>

#include "client/cpp/rpc_status.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {

absl::StatusOr<v1::BackupSummary> MakeBackup(
    Client& client, const v1::BackupRequest& request,
    const std::function<void(const v1::BackupProgress&)>& on_progress) {
  grpc::ClientContext context;
  const auto reader = client.admin().Backup(&context, request);
  std::optional<v1::BackupSummary> summary;
  for (v1::BackupResponse part; reader->Read(&part);) {
    if (part.has_summary()) summary = part.summary();
    if (part.has_progress() && on_progress) on_progress(part.progress());
  }
  WDELTA_RETURN_IF_ERROR(FromGrpcStatus(reader->Finish()));
  if (summary.has_value()) return *std::move(summary);
  return MakeError(absl::StatusCode::kDataLoss, "TRUNCATED_STREAM",
                   "backup: expected a summary at the end of the stream, found none");
}

}  // namespace wdelta
