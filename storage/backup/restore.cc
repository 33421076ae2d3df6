#include "storage/backup/restore.h"

#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "storage/backup/backup_folder.h"
#include "storage/backup/rocksdb_backups.h"
#include "storage/backup/staged_copy.h"
#include "storage/backup/store_audit.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/blobs/rocksdb_blob_store.h"
#include "storage/catalog/rocksdb_catalog.h"
#include "storage/engine/disk/data_dir.h"

namespace wdelta {
namespace {

using store::v1::BackupRecord;

constexpr char kMarkerName[] = "RESTORING";

absl::StatusOr<std::vector<uint32_t>> ListSome(const BackupFolder& folder) {
  WDELTA_ASSIGN_OR_RETURN(std::vector<uint32_t> ids, folder.List());
  if (!ids.empty()) return ids;
  return MakeError(absl::StatusCode::kFailedPrecondition, "NO_BACKUPS",
                   absl::StrCat("folder ", folder.path(), ": expected backups, found none"));
}

absl::Status VerifyOne(FileSystem& files, const BackupFolder& folder, const BackupRecord& record,
                       RocksdbBackups& catalogs, RocksdbBackups& blobs,
                       const OnBackupRead& on_read) {
  WDELTA_RETURN_IF_ERROR(catalogs.Verify(record.catalog_backup_id()));
  WDELTA_RETURN_IF_ERROR(blobs.Verify(record.blobs_backup_id()));
  return VerifyStagedFiles(files, folder.staging_path(record.id()), record.staged_upload_count(),
                           on_read);
}

// Whether what was restored is what was backed up.
absl::Status CheckRestored(const BackupRecord& record, const std::string& data_dir,
                           const OnBackupRead& on_read) {
  RocksdbCatalogOptions catalog_options;
  catalog_options.is_read_only = true;
  WDELTA_ASSIGN_OR_RETURN(const auto catalog,
                          RocksdbCatalog::Open(DataDir::CatalogPath(data_dir), catalog_options));
  RocksdbBlobStoreOptions blob_options;
  blob_options.is_read_only = true;
  WDELTA_ASSIGN_OR_RETURN(const auto blobs,
                          RocksdbBlobStore::Open(DataDir::BlobsPath(data_dir), blob_options));
  WDELTA_ASSIGN_OR_RETURN(const StoreAudit audit,
                          AuditStore(
                              *catalog, *blobs,
                              [&](const std::string& upload) {
                                return std::filesystem::exists(
                                    absl::StrCat(DataDir::StagingPath(data_dir), "/", upload));
                              },
                              [&] { return on_read(0); }));
  if (audit.model_count != record.model_count()) {
    return absl::DataLossError(
        absl::StrCat("expected ", record.model_count(), " models, found ", audit.model_count));
  }
  if (audit.problem_count <= record.problem_count()) return absl::OkStatus();
  return absl::DataLossError(audit.first_problem);
}

// As WriteFileAtOnce, and DataDir::Mark, write a file first.
std::string TemporaryPath(const std::string& path) { return absl::StrCat(path, ".tmp"); }

// There while a restore runs, and after one that was interrupted.
std::string MarkerPath(const std::string& data_dir) {
  return absl::StrCat(data_dir, "/", kMarkerName);
}

bool IsLeftOfARestore(const std::string& data_dir) {
  const std::string marker = MarkerPath(data_dir);
  return !std::filesystem::exists(DataDir::FormatPath(data_dir)) &&
         (std::filesystem::exists(marker) || std::filesystem::exists(TemporaryPath(marker)));
}

// What makes it a data folder goes first, the marker last.
absl::Status RemoveRestored(FileSystem& files, const std::string& data_dir) {
  const std::string format = DataDir::FormatPath(data_dir);
  WDELTA_RETURN_IF_ERROR(files.RemoveAll(format));
  WDELTA_RETURN_IF_ERROR(files.SyncDirectory(data_dir));
  for (const std::string& left : {DataDir::CatalogPath(data_dir), DataDir::BlobsPath(data_dir),
                                  DataDir::StagingPath(data_dir), TemporaryPath(format),
                                  TemporaryPath(MarkerPath(data_dir))}) {
    WDELTA_RETURN_IF_ERROR(files.RemoveAll(left));
  }
  WDELTA_RETURN_IF_ERROR(files.SyncDirectory(data_dir));
  return files.RemoveAll(MarkerPath(data_dir));
}

// Takes an empty folder, or what an interrupted restore left of one. Holds its lock.
absl::StatusOr<DataDir> BeginRestore(FileSystem& files, const std::string& data_dir) {
  // Before the lock, too: a foreign folder gets no LOCK file.
  if (!IsLeftOfARestore(data_dir)) WDELTA_RETURN_IF_ERROR(DataDir::CreateVacant(data_dir));
  WDELTA_ASSIGN_OR_RETURN(DataDir lock, DataDir::Lock(data_dir));
  if (IsLeftOfARestore(data_dir)) WDELTA_RETURN_IF_ERROR(RemoveRestored(files, data_dir));
  WDELTA_RETURN_IF_ERROR(DataDir::CreateVacant(data_dir));
  WDELTA_RETURN_IF_ERROR(
      WriteFileAtOnce(files, data_dir, kMarkerName, "a restore fills this folder\n"));
  return lock;
}

// RocksDB's own restore does not say which file is damaged.
absl::Status RestoreDatabase(RocksdbBackups& backups, uint32_t id, const std::string& path) {
  const absl::Status restored = backups.Restore(id, path);
  if (!absl::IsDataLoss(restored)) return restored;
  const absl::Status verified = backups.Verify(id);
  return verified.ok() ? restored : verified;
}

absl::Status FillDataDir(FileSystem& files, const BackupFolder& folder, const BackupRecord& record,
                         const std::string& data_dir, const OnBackupRead& on_read) {
  const std::string catalog_path = DataDir::CatalogPath(data_dir);
  const std::string blobs_path = DataDir::BlobsPath(data_dir);
  WDELTA_ASSIGN_OR_RETURN(const auto catalogs,
                          RocksdbBackups::OpenForRead(folder.catalog_path(), on_read));
  WDELTA_RETURN_IF_ERROR(RestoreDatabase(*catalogs, record.catalog_backup_id(), catalog_path));
  // The store stays the same one, and goes on in the same folder of backups.
  WDELTA_RETURN_IF_ERROR(WriteFileAtOnce(files, catalog_path, "IDENTITY", record.store_id()));
  WDELTA_ASSIGN_OR_RETURN(const auto blobs,
                          RocksdbBackups::OpenForRead(folder.blobs_path(), on_read));
  WDELTA_RETURN_IF_ERROR(RestoreDatabase(*blobs, record.blobs_backup_id(), blobs_path));
  WDELTA_RETURN_IF_ERROR(RestoreStagedFiles(files, folder.staging_path(record.id()),
                                            record.staged_upload_count(),
                                            DataDir::StagingPath(data_dir), on_read));
  WDELTA_RETURN_IF_ERROR(CheckRestored(record, data_dir, on_read));
  WDELTA_RETURN_IF_ERROR(files.SyncDirectory(catalog_path));
  return files.SyncDirectory(blobs_path);
}

}  // namespace

absl::Status VerifyBackups(FileSystem& files, const std::string& path, const OnBackupRead& on_read,
                           const std::function<void(uint32_t id, const BackupRecord& record,
                                                    const absl::Status& status)>& on_verified) {
  WDELTA_ASSIGN_OR_RETURN(const BackupFolder folder, BackupFolder::Open(&files, path));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, ListSome(folder));
  WDELTA_ASSIGN_OR_RETURN(const auto catalogs,
                          RocksdbBackups::OpenForRead(folder.catalog_path(), on_read));
  WDELTA_ASSIGN_OR_RETURN(const auto blobs,
                          RocksdbBackups::OpenForRead(folder.blobs_path(), on_read));
  absl::Status result;
  for (const uint32_t id : ids) {
    const absl::StatusOr<BackupRecord> record = folder.Read(id);
    const absl::Status status = record.ok()
                                    ? VerifyOne(files, folder, *record, *catalogs, *blobs, on_read)
                                    : record.status();
    // Stopped, which says nothing about the backup.
    if (absl::IsCancelled(status)) return status;
    on_verified(id, record.ok() ? *record : BackupRecord(), status);
    if (!status.ok() && result.ok()) result = Annotate(status, absl::StrCat("backup ", id));
  }
  return result;
}

absl::StatusOr<BackupRecord> RestoreBackup(FileSystem& files, const std::string& path, uint32_t id,
                                           const std::string& data_dir,
                                           const OnBackupRead& on_read) {
  WDELTA_ASSIGN_OR_RETURN(const BackupFolder folder, BackupFolder::Open(&files, path));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, ListSome(folder));
  WDELTA_ASSIGN_OR_RETURN(const BackupRecord record, folder.Read(id == 0 ? ids.back() : id));
  if (record.data_format() > static_cast<uint32_t>(kDataFormat)) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "DATA_FORMAT_NEWER",
                     absl::StrCat("backup ", record.id(), ": expected a format up to ", kDataFormat,
                                  ", found ", record.data_format()));
  }
  WDELTA_ASSIGN_OR_RETURN(const DataDir lock, BeginRestore(files, data_dir));
  absl::Cleanup failed = [&] { RemoveRestored(files, data_dir).IgnoreError(); };
  WDELTA_RETURN_IF_ERROR(Annotate(FillDataDir(files, folder, record, data_dir, on_read),
                                  absl::StrCat("backup ", record.id())));
  WDELTA_RETURN_IF_ERROR(DataDir::Mark(data_dir));
  std::move(failed).Cancel();
  WDELTA_RETURN_IF_ERROR(files.RemoveAll(MarkerPath(data_dir)));
  return record;
}

}  // namespace wdelta
