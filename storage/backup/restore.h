// What is done with backups while no daemon runs.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/base/file_system.h"
#include "store/v1/backup.pb.h"

namespace wdelta {

// Called with the sizes of pieces read, by one thread at a time; an error ends the work.
using OnBackupRead = std::function<absl::Status(uint64_t bytes)>;

// Reads every file of every backup in the folder and compares checksums; calls `on_verified`
// for each, in order, with OK or what is wrong (its record is empty when that is damaged).
// FAILED_PRECONDITION (`NOT_A_BACKUP_DIR`, `NO_BACKUPS`), DATA_LOSS when one is damaged.
absl::Status VerifyBackups(
    FileSystem& files, const std::string& folder, const OnBackupRead& on_read,
    const std::function<void(uint32_t id, const store::v1::BackupRecord& record,
                             const absl::Status& status)>& on_verified);

// Makes a data folder of a backup; `id` 0: the newest. It becomes one with the last step. A
// restore that fails leaves nothing in the folder but LOCK; what one that was killed leaves
// is no data folder, no daemon takes it, and the next restore removes it. NOT_FOUND
// (`BACKUP_NOT_FOUND`); FAILED_PRECONDITION: `NOT_A_BACKUP_DIR`, `NO_BACKUPS`,
// `DATA_DIR_NOT_EMPTY`, `DATA_DIR_IN_USE` (by another restore, too), `DATA_FORMAT_NEWER`;
// DATA_LOSS, naming the damaged file.
absl::StatusOr<store::v1::BackupRecord> RestoreBackup(FileSystem& files, const std::string& folder,
                                                      uint32_t id, const std::string& data_dir,
                                                      const OnBackupRead& on_read);

}  // namespace wdelta
