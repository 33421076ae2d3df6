// A folder of backups of one store.
//
//   WDELTA_BACKUP         `wdelta-backup 1`, `store <id>`: makes the folder one of backups
//   records/<id>          BackupRecord; written last, removed first
//   catalog/ blobs/       backups of the two databases as RocksDB makes them; unchanged files
//                         are shared between backups
//   staging/<id>/<upload>/<entry>, and FILES with a StagedUploadRecord: uploads whose
//                         models are not compressed; unchanged files are hard links
//
// Ids have 6 digits at least. A record is a protobuf message, then its CRC-32C.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message_lite.h"
#include "storage/base/file_system.h"
#include "store/v1/backup.pb.h"

namespace wdelta {

// Does not own the files, which must outlive it. One thread at a time.
class BackupFolder {
 public:
  // For a new backup: takes an empty folder, or makes it. FAILED_PRECONDITION:
  // `NOT_A_BACKUP_DIR`, `OTHER_STORE`.
  static absl::StatusOr<BackupFolder> OpenForStore(FileSystem* files, const std::string& path,
                                                   const std::string& store_id);
  // FAILED_PRECONDITION: `NOT_A_BACKUP_DIR`.
  static absl::StatusOr<BackupFolder> Open(FileSystem* files, const std::string& path);

  const std::string& path() const { return path_; }
  std::string catalog_path() const { return path_ + "/catalog"; }
  std::string blobs_path() const { return path_ + "/blobs"; }
  std::string staging_path() const { return path_ + "/staging"; }
  std::string staging_path(uint32_t id) const;

  // In order.
  absl::StatusOr<std::vector<uint32_t>> List() const;
  // NOT_FOUND (`BACKUP_NOT_FOUND`), DATA_LOSS.
  absl::StatusOr<store::v1::BackupRecord> Read(uint32_t id) const;
  // Durable once it returns.
  absl::Status Write(const store::v1::BackupRecord& record);
  absl::Status Remove(uint32_t id);

 private:
  BackupFolder(FileSystem* files, std::string path) : files_(files), path_(std::move(path)) {}
  std::string records_path() const { return path_ + "/records"; }

  FileSystem* files_;
  std::string path_;
};

// A file that is there whole or not at all; durable once it returns.
absl::Status WriteFileAtOnce(FileSystem& files, const std::string& folder, const std::string& name,
                             absl::string_view bytes);
absl::Status WriteRecordFile(FileSystem& files, const std::string& folder, const std::string& name,
                             const google::protobuf::MessageLite& record);
// DATA_LOSS, naming the file, when it is absent or damaged.
absl::Status ReadRecordFile(FileSystem& files, const std::string& path,
                            google::protobuf::MessageLite& record);

}  // namespace wdelta
