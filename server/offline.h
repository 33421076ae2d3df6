// What `wdeltad` does with backups instead of serving: prints one line a backup on stdout.
#pragma once

#include "absl/status/status.h"
#include "server/config.h"

namespace wdelta {

// Errors: as VerifyBackups and RestoreBackup of storage/backup/restore.h.
absl::Status VerifyBackupsOffline(const BackupSource& source);
absl::Status RestoreOffline(const BackupSource& source, const std::string& data_dir);

}  // namespace wdelta
