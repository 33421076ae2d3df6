#include "storage/backup/staged_copy.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <system_error>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "storage/backup/backup_folder.h"
#include "storage/base/checksum.h"
#include "storage/base/id.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/records/records.h"
#include "store/v1/backup.pb.h"
#include "store/v1/records.pb.h"

namespace wdelta {
namespace {

using store::v1::StagedUploadRecord;

constexpr uint64_t kCopyBytes = 1 * limits::kMiB;
constexpr char kRecordName[] = "FILES";

std::string EntryName(uint32_t entry) { return absl::StrCat(absl::Dec(entry, absl::kZeroPad8)); }

absl::Status Link(const std::string& from, const std::string& to) {
  std::error_code error;
  std::filesystem::create_hard_link(from, to, error);
  if (!error) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("link ", from, " as ", to, ": ", error.message()));
}

// Reads `size` bytes from the start; copies them when there is a target. Returns their CRC.
absl::StatusOr<uint32_t> ReadThrough(FileSystem& files, const std::string& path, uint64_t size,
                                     AppendFile* target, const OnStagedRead& on_read) {
  const absl::StatusOr<std::unique_ptr<RandomAccessFile>> opened = files.OpenForRead(path);
  if (absl::IsNotFound(opened.status())) return absl::DataLossError(opened.status().message());
  WDELTA_RETURN_IF_ERROR(opened.status());
  const RandomAccessFile& file = **opened;
  std::string buffer(std::min(size, kCopyBytes), '\0');
  uint32_t crc = 0;
  for (uint64_t offset = 0; offset < size; offset += buffer.size()) {
    buffer.resize(std::min(size - offset, kCopyBytes));
    WDELTA_RETURN_IF_ERROR(file.Read(offset, buffer.data(), buffer.size()));
    crc = ExtendCrc32c(crc, buffer);
    if (target != nullptr) WDELTA_RETURN_IF_ERROR(target->Append(buffer));
    WDELTA_RETURN_IF_ERROR(on_read(buffer.size()));
  }
  return crc;
}

absl::StatusOr<uint32_t> Copy(FileSystem& files, const std::string& from, uint64_t size,
                              const std::string& to, const OnStagedRead& on_read) {
  WDELTA_ASSIGN_OR_RETURN(const std::unique_ptr<AppendFile> target, files.OpenForAppend(to, 0));
  WDELTA_ASSIGN_OR_RETURN(const uint32_t crc,
                          ReadThrough(files, from, size, target.get(), on_read));
  WDELTA_RETURN_IF_ERROR(target->Sync());
  return crc;
}

absl::Status CheckCrc(const std::string& path, uint32_t expected, uint32_t found) {
  if (expected == found) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat(path, ": expected CRC-32C ", expected, ", found ", found));
}

// Durable sizes by entry: of what is recorded, and of files that hold nothing yet.
absl::StatusOr<std::map<uint32_t, uint64_t>> DurableSizes(FileSystem& files, Catalog& catalog,
                                                          const std::string& folder,
                                                          const std::string& upload) {
  std::map<uint32_t, uint64_t> sizes;
  const std::string prefix = keys::StagedPrefix(upload);
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> recorded,
                          ScanKeySuffixes(catalog, prefix));
  std::vector<std::string> names = recorded;
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> found, files.List(folder));
  names.insert(names.end(), found.begin(), found.end());
  for (const std::string& name : names) {
    uint32_t entry = 0;
    if (!absl::SimpleAtoi(name, &entry) || EntryName(entry) != name) continue;
    if (sizes.count(entry) != 0) continue;
    WDELTA_ASSIGN_OR_RETURN(const auto record, ReadRecord<store::v1::StagedSizeRecord>(
                                                   catalog, keys::Staged(upload, entry)));
    sizes[entry] = record.has_value() ? record->message.durable_bytes() : 0;
  }
  return sizes;
}

absl::StatusOr<StagedUploadRecord> CopyUpload(FileSystem& files,
                                              const std::map<uint32_t, uint64_t>& sizes,
                                              const std::string& frozen, const std::string& earlier,
                                              const std::string& target,
                                              const OnStagedRead& on_read) {
  // The bytes before a durable size never change, so that an earlier copy of the same size
  // is the same.
  std::map<uint32_t, StagedUploadRecord::File> copied;
  StagedUploadRecord former;
  if (!earlier.empty() &&
      ReadRecordFile(files, absl::StrCat(earlier, "/", kRecordName), former).ok()) {
    for (const auto& file : former.files()) copied[file.entry()] = file;
  }
  WDELTA_RETURN_IF_ERROR(files.CreateDirectories(target));
  StagedUploadRecord record;
  for (const auto& [entry, size] : sizes) {
    const std::string name = absl::StrCat("/", EntryName(entry));
    StagedUploadRecord::File& file = *record.add_files();
    file.set_entry(entry);
    file.set_size_bytes(size);
    const auto found = copied.find(entry);
    if (found != copied.end() && found->second.size_bytes() == size &&
        Link(earlier + name, target + name).ok()) {
      file.set_crc32c(found->second.crc32c());
      continue;
    }
    WDELTA_ASSIGN_OR_RETURN(const uint32_t crc,
                            Copy(files, frozen + name, size, target + name, on_read));
    file.set_crc32c(crc);
  }
  WDELTA_RETURN_IF_ERROR(WriteRecordFile(files, target, kRecordName, record));
  return record;
}

// Calls `visit` for each upload of a copy with its record.
absl::Status ForEachUpload(
    FileSystem& files, const std::string& copy, uint64_t expected_uploads,
    const std::function<absl::Status(const std::string& upload, const StagedUploadRecord& record)>&
        visit) {
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> uploads, files.List(copy));
  if (uploads.size() != expected_uploads) {
    return absl::DataLossError(
        absl::StrCat(copy, ": expected ", expected_uploads, " uploads, found ", uploads.size()));
  }
  for (const std::string& upload : uploads) {
    StagedUploadRecord record;
    WDELTA_RETURN_IF_ERROR(
        ReadRecordFile(files, absl::StrCat(copy, "/", upload, "/", kRecordName), record));
    WDELTA_RETURN_IF_ERROR(visit(upload, record));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status LinkStagedFiles(FileSystem& files, const std::string& staging,
                             const std::string& target) {
  WDELTA_RETURN_IF_ERROR(files.CreateDirectories(target));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> uploads, files.List(staging));
  for (const std::string& upload : uploads) {
    if (!IsWellFormedId(upload)) continue;
    const std::string from = absl::StrCat(staging, "/", upload);
    const std::string to = absl::StrCat(target, "/", upload);
    WDELTA_RETURN_IF_ERROR(files.CreateDirectories(to));
    WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(from));
    for (const std::string& name : names) {
      WDELTA_RETURN_IF_ERROR(Link(absl::StrCat(from, "/", name), absl::StrCat(to, "/", name)));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<StagedCopied> CopyStagedFiles(FileSystem& files, Catalog& catalog,
                                             const std::string& frozen, const std::string& earlier,
                                             const std::string& target,
                                             const OnStagedRead& on_read) {
  StagedCopied copied;
  WDELTA_RETURN_IF_ERROR(files.RemoveAll(target));  // of a broken attempt
  WDELTA_RETURN_IF_ERROR(files.CreateDirectories(target));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> uploads, files.List(frozen));
  for (const std::string& upload : uploads) {
    const std::string from = absl::StrCat(frozen, "/", upload);
    WDELTA_ASSIGN_OR_RETURN(const auto sizes, DurableSizes(files, catalog, from, upload));
    WDELTA_ASSIGN_OR_RETURN(
        const StagedUploadRecord record,
        CopyUpload(files, sizes, from,
                   earlier.empty() ? std::string() : absl::StrCat(earlier, "/", upload),
                   absl::StrCat(target, "/", upload), on_read));
    ++copied.uploads;
    for (const auto& file : record.files()) copied.total_bytes += file.size_bytes();
  }
  WDELTA_RETURN_IF_ERROR(files.SyncDirectory(target));
  return copied;
}

absl::Status VerifyStagedFiles(FileSystem& files, const std::string& copy,
                               uint64_t expected_uploads, const OnStagedRead& on_read) {
  return ForEachUpload(
      files, copy, expected_uploads,
      [&](const std::string& upload, const StagedUploadRecord& record) -> absl::Status {
        for (const auto& file : record.files()) {
          const std::string path = absl::StrCat(copy, "/", upload, "/", EntryName(file.entry()));
          WDELTA_ASSIGN_OR_RETURN(const uint32_t crc,
                                  ReadThrough(files, path, file.size_bytes(), nullptr, on_read));
          WDELTA_RETURN_IF_ERROR(CheckCrc(path, file.crc32c(), crc));
        }
        return absl::OkStatus();
      });
}

absl::Status RestoreStagedFiles(FileSystem& files, const std::string& copy,
                                uint64_t expected_uploads, const std::string& staging,
                                const OnStagedRead& on_read) {
  WDELTA_RETURN_IF_ERROR(files.CreateDirectories(staging));
  const absl::Status restored = ForEachUpload(
      files, copy, expected_uploads,
      [&](const std::string& upload, const StagedUploadRecord& record) -> absl::Status {
        const std::string target = absl::StrCat(staging, "/", upload);
        WDELTA_RETURN_IF_ERROR(files.CreateDirectories(target));
        for (const auto& file : record.files()) {
          const std::string name = absl::StrCat("/", EntryName(file.entry()));
          const std::string path = absl::StrCat(copy, "/", upload, name);
          WDELTA_ASSIGN_OR_RETURN(const uint32_t crc,
                                  Copy(files, path, file.size_bytes(), target + name, on_read));
          WDELTA_RETURN_IF_ERROR(CheckCrc(path, file.crc32c(), crc));
        }
        return files.SyncDirectory(target);
      });
  WDELTA_RETURN_IF_ERROR(restored);
  return files.SyncDirectory(staging);
}

}  // namespace wdelta
