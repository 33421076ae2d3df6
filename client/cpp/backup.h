// Backups of the store, made by the daemon on its own machine.
#pragma once

#include <functional>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"

namespace wdelta {

// Calls `on_progress` (may be empty), on this thread, with the parts of the answer that come
// before its end. DATA_LOSS (`TRUNCATED_STREAM`) when there is no end; otherwise the errors
// of admin.proto. The daemon gives the backup up when this process ends.
absl::StatusOr<v1::BackupSummary> MakeBackup(
    Client& client, const v1::BackupRequest& request,
    const std::function<void(const v1::BackupProgress&)>& on_progress);

}  // namespace wdelta
