#include "storage/backup/backup_folder.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/byte_reader.h"
#include "storage/base/checksum.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr absl::string_view kMarkerName = "WDELTA_BACKUP";
constexpr absl::string_view kMarkerBegin = "wdelta-backup 1\nstore ";
constexpr uint64_t kMaxMarkerBytes = 256;
constexpr uint64_t kMaxRecordBytes = 16 * limits::kMiB;
constexpr uint64_t kChecksumBytes = sizeof(uint32_t);

std::string IdName(uint32_t id) { return absl::StrCat(absl::Dec(id, absl::kZeroPad6)); }

absl::StatusOr<std::string> ReadFile(FileSystem& files, const std::string& path,
                                     uint64_t max_bytes) {
  WDELTA_ASSIGN_OR_RETURN(const std::unique_ptr<RandomAccessFile> file, files.OpenForRead(path));
  WDELTA_ASSIGN_OR_RETURN(const uint64_t size, file->SizeBytes());
  if (size > max_bytes) {
    return absl::DataLossError(
        absl::StrCat(path, ": expected at most ", max_bytes, " bytes, found ", size));
  }
  std::string bytes(size, '\0');
  WDELTA_RETURN_IF_ERROR(file->Read(0, bytes.data(), bytes.size()));
  return bytes;
}

absl::Status NotABackupDir(absl::string_view message) {
  return MakeError(absl::StatusCode::kFailedPrecondition, "NOT_A_BACKUP_DIR", message);
}

// The id of the store whose backups these are; nullopt when there is no marker.
absl::StatusOr<std::optional<std::string>> ReadMarker(FileSystem& files, const std::string& path) {
  const std::string marker = absl::StrCat(path, "/", kMarkerName);
  const absl::StatusOr<std::string> text = ReadFile(files, marker, kMaxMarkerBytes);
  if (absl::IsNotFound(text.status())) return std::optional<std::string>();
  WDELTA_RETURN_IF_ERROR(text.status());
  absl::string_view id = *text;
  if (!absl::ConsumePrefix(&id, kMarkerBegin) || !absl::ConsumeSuffix(&id, "\n") || id.empty()) {
    return NotABackupDir(absl::StrCat(marker, ": expected `wdelta-backup 1` and a store, found `",
                                      absl::CHexEscape(*text), "`"));
  }
  return std::optional<std::string>(std::string(id));
}

}  // namespace

absl::Status WriteFileAtOnce(FileSystem& files, const std::string& folder, const std::string& name,
                             absl::string_view bytes) {
  const std::string path = absl::StrCat(folder, "/", name);
  const std::string temporary = absl::StrCat(path, ".tmp");
  {
    WDELTA_ASSIGN_OR_RETURN(const std::unique_ptr<AppendFile> file,
                            files.OpenForAppend(temporary, 0));
    WDELTA_RETURN_IF_ERROR(file->Append(bytes));
    WDELTA_RETURN_IF_ERROR(file->Sync());
  }
  std::error_code error;
  std::filesystem::rename(temporary, path, error);
  if (error) return absl::InternalError(absl::StrCat("rename ", temporary, ": ", error.message()));
  return files.SyncDirectory(folder);
}

absl::Status WriteRecordFile(FileSystem& files, const std::string& folder, const std::string& name,
                             const google::protobuf::MessageLite& record) {
  std::string bytes = record.SerializeAsString();
  AppendU32(bytes, Crc32c(bytes));
  return WriteFileAtOnce(files, folder, name, bytes);
}

absl::Status ReadRecordFile(FileSystem& files, const std::string& path,
                            google::protobuf::MessageLite& record) {
  const absl::StatusOr<std::string> bytes = ReadFile(files, path, kMaxRecordBytes);
  if (absl::IsNotFound(bytes.status())) return absl::DataLossError(bytes.status().message());
  WDELTA_RETURN_IF_ERROR(bytes.status());
  if (bytes->size() >= kChecksumBytes) {
    const absl::string_view text = absl::string_view(*bytes).substr(0, bytes->size() - 4);
    WDELTA_ASSIGN_OR_RETURN(
        const uint32_t crc,
        ByteReader(absl::string_view(*bytes).substr(text.size())).ReadU32("CRC-32C"));
    if (crc == Crc32c(text) && record.ParseFromArray(text.data(), static_cast<int>(text.size()))) {
      return absl::OkStatus();
    }
  }
  return absl::DataLossError(
      absl::StrCat(path, ": expected a record with its CRC-32C, found ", bytes->size(), " others"));
}

absl::StatusOr<BackupFolder> BackupFolder::OpenForStore(FileSystem* files, const std::string& path,
                                                        const std::string& store_id) {
  WDELTA_RETURN_IF_ERROR(files->CreateDirectories(path));
  WDELTA_ASSIGN_OR_RETURN(const std::optional<std::string> found, ReadMarker(*files, path));
  BackupFolder folder(files, path);
  if (!found.has_value()) {
    WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> names, files->List(path));
    for (const std::string& name : names) {
      if (name == absl::StrCat(kMarkerName, ".tmp") || name == "lost+found") continue;
      return NotABackupDir(absl::StrCat("folder ", path,
                                        ": expected an empty folder or one of backups, found `",
                                        absl::CHexEscape(name), "`"));
    }
    WDELTA_RETURN_IF_ERROR(WriteFileAtOnce(*files, path, std::string(kMarkerName),
                                           absl::StrCat(kMarkerBegin, store_id, "\n")));
  } else if (*found != store_id) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "OTHER_STORE",
                     absl::StrCat("folder ", path, ": expected backups of store ", store_id,
                                  ", found those of ", absl::CHexEscape(*found)));
  }
  for (const std::string& room :
       {folder.records_path(), folder.catalog_path(), folder.blobs_path(), folder.staging_path()}) {
    WDELTA_RETURN_IF_ERROR(files->CreateDirectories(room));
  }
  WDELTA_RETURN_IF_ERROR(files->SyncDirectory(path));
  return folder;
}

absl::StatusOr<BackupFolder> BackupFolder::Open(FileSystem* files, const std::string& path) {
  WDELTA_ASSIGN_OR_RETURN(const std::optional<std::string> found, ReadMarker(*files, path));
  if (!found.has_value()) {
    return NotABackupDir(
        absl::StrCat("folder ", path, ": expected backups, found no file ", kMarkerName));
  }
  return BackupFolder(files, path);
}

std::string BackupFolder::staging_path(uint32_t id) const {
  return absl::StrCat(staging_path(), "/", IdName(id));
}

absl::StatusOr<std::vector<uint32_t>> BackupFolder::List() const {
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> names, files_->List(records_path()));
  std::vector<uint32_t> ids;
  for (const std::string& name : names) {
    uint32_t id = 0;
    if (absl::SimpleAtoi(name, &id) && id > 0 && IdName(id) == name) ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

absl::StatusOr<store::v1::BackupRecord> BackupFolder::Read(uint32_t id) const {
  WDELTA_ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, List());
  if (std::find(ids.begin(), ids.end(), id) == ids.end()) {
    const std::string found =
        ids.empty() ? "none" : absl::StrCat(ids.size(), ", ", ids.front(), " to ", ids.back());
    return MakeError(absl::StatusCode::kNotFound, "BACKUP_NOT_FOUND",
                     absl::StrCat(path_, ": expected backup ", id, ", found ", found));
  }
  const std::string path = absl::StrCat(records_path(), "/", IdName(id));
  store::v1::BackupRecord record;
  WDELTA_RETURN_IF_ERROR(ReadRecordFile(*files_, path, record));
  if (record.id() == id) return record;
  return absl::DataLossError(
      absl::StrCat(path, ": expected the record of backup ", id, ", found that of ", record.id()));
}

absl::Status BackupFolder::Write(const store::v1::BackupRecord& record) {
  return WriteRecordFile(*files_, records_path(), IdName(record.id()), record);
}

absl::Status BackupFolder::Remove(uint32_t id) {
  WDELTA_RETURN_IF_ERROR(files_->RemoveAll(absl::StrCat(records_path(), "/", IdName(id))));
  return files_->SyncDirectory(records_path());
}

}  // namespace wdelta
