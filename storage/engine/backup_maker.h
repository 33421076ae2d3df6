// Backups of a running store, as the server sees them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace wdelta {

struct BackupOptions {
  std::string folder;  // absolute
  uint32_t keep = 0;   // backups that stay, this one included; 0: all
  bool verify = true;  // reads the backup again and compares checksums
};

enum class BackupPhase { kFreezing, kCatalog, kBlobs, kUploads, kVerifying };

struct BackupProgress {
  BackupPhase phase = BackupPhase::kFreezing;
  uint64_t read_bytes = 0;  // in this phase
};

struct BackupReport {
  uint32_t id = 0;
  uint64_t total_bytes = 0;  // of all files that the backup needs
  uint64_t new_bytes = 0;    // that earlier backups in the folder did not have
  uint64_t model_count = 0;
  uint64_t staged_upload_count = 0;
  bool is_verified = false;
  // What the catalog needs and the store did not have: damage that was there before.
  uint64_t problem_count = 0;
  std::string first_problem;
  std::vector<uint32_t> kept_ids;  // in the folder, in order
};

// Any thread may call it.
class BackupMaker {
 public:
  // Called often, by one thread at a time, not always the same; an error ends the work.
  using OnProgress = std::function<absl::Status(const BackupProgress&)>;

  virtual ~BackupMaker() = default;

  // Adds a backup to the folder, which is made when absent. What was acknowledged before
  // the call is in it. INVALID_ARGUMENT (`BAD_BACKUP_DIR`): not absolute, or inside the
  // data folder or around it; FAILED_PRECONDITION: `NOT_A_BACKUP_DIR` (something else lies
  // there), `OTHER_STORE` (backups of another store do); ABORTED (`BACKUP_RUNNING`);
  // RESOURCE_EXHAUSTED (`DISK_FULL`); DATA_LOSS (verification failed). After an error the
  // earlier backups are as they were.
  virtual absl::StatusOr<BackupReport> MakeBackup(const BackupOptions& options,
                                                  const OnProgress& on_progress) = 0;
};

}  // namespace wdelta
