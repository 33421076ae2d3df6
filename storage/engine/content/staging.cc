#include "storage/engine/content/staging.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "storage/base/failpoint.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/content/staged_source.h"
#include "storage/engine/records/records.h"

namespace wdelta {
namespace {

constexpr size_t kHashBufferBytes = 1 * limits::kMiB;
constexpr int kRemoveAttempts = 10;
constexpr uint32_t kScanRecords = 1000;

std::string RunningKey(const std::string& upload_id, uint32_t entry) {
  return absl::StrCat(upload_id, "/", entry);
}

}  // namespace

absl::Status StagedWriter::Append(absl::string_view data) {
  WDELTA_RETURN_IF_ERROR(append_status_);
  Failpoint("staging.append.before");
  append_status_ = file_->Append(data);
  Failpoint("staging.append.after");
  WDELTA_RETURN_IF_ERROR(append_status_);
  hasher_.Update(data);
  size_bytes_ += data.size();
  return absl::OkStatus();
}

absl::Status StagedWriter::Flush() {
  WDELTA_RETURN_IF_ERROR(sync_status_);
  Failpoint("staging.sync.before");
  sync_status_ = file_->Sync();
  Failpoint("staging.sync.after");
  if (!sync_status_.ok()) append_status_ = sync_status_;
  return sync_status_;
}

absl::Status StagedWriter::Sync(Catalog& catalog, absl::Time now) {
  WDELTA_RETURN_IF_ERROR(sync_status_);
  if (size_bytes_ == durable_bytes_) return absl::OkStatus();
  WDELTA_RETURN_IF_ERROR(Flush());
  store::v1::StagedSizeRecord record;
  record.set_durable_bytes(size_bytes_);
  record.set_update_time_us(ToMicros(now));
  Commit commit;
  commit.Write(key_, record.SerializeAsString());
  WDELTA_RETURN_IF_ERROR(catalog.Apply(commit).status());
  durable_bytes_ = size_bytes_;
  return absl::OkStatus();
}

std::string Staging::FolderOf(const std::string& upload_id) const {
  return absl::StrCat(directory_, "/", upload_id);
}

std::string Staging::PathOf(const std::string& upload_id, uint32_t entry) const {
  return absl::StrCat(FolderOf(upload_id), "/", absl::Dec(entry, absl::kZeroPad8));
}

absl::Status Staging::CreateFolder(const std::string& upload_id) {
  Failpoint("staging.create.before");
  WDELTA_RETURN_IF_ERROR(files_->CreateDirectories(FolderOf(upload_id)));
  WDELTA_RETURN_IF_ERROR(files_->SyncDirectory(directory_));
  Failpoint("staging.create.after");
  return absl::OkStatus();
}

absl::StatusOr<store::v1::StagedSizeRecord> Staging::DurableSize(const std::string& upload_id,
                                                                 uint32_t entry) {
  WDELTA_ASSIGN_OR_RETURN(const auto record, ReadRecord<store::v1::StagedSizeRecord>(
                                                 *catalog_, keys::Staged(upload_id, entry)));
  return record.has_value() ? record->message : store::v1::StagedSizeRecord();
}

absl::StatusOr<uint64_t> Staging::DurableBytes(const std::string& upload_id, uint32_t entry) {
  WDELTA_ASSIGN_OR_RETURN(const auto size, DurableSize(upload_id, entry));
  return size.durable_bytes();
}

absl::StatusOr<std::vector<store::v1::StagedSizeRecord>> Staging::DurableSizes(
    const std::string& upload_id, size_t entry_count) {
  std::vector<store::v1::StagedSizeRecord> sizes(entry_count);
  const std::string prefix = keys::StagedPrefix(upload_id);
  ScanRequest request{prefix, PrefixEnd(prefix), kScanRecords, false};
  while (true) {
    WDELTA_ASSIGN_OR_RETURN(const ScanPage page, catalog_->Scan(request));
    for (const Record& record : page.records) {
      WDELTA_ASSIGN_OR_RETURN(auto size, ParseRecord<store::v1::StagedSizeRecord>(record));
      uint32_t entry = 0;
      const bool is_entry = absl::SimpleAtoi(record.key.substr(prefix.size()), &entry);
      if (is_entry && entry < entry_count) sizes[entry] = std::move(size.message);
    }
    if (!page.more || page.records.empty()) return sizes;
    request.begin = page.records.back().key + '\0';
  }
}

absl::StatusOr<Sha256Hasher> Staging::HashPrefix(const std::string& upload_id, uint32_t entry,
                                                 uint64_t bytes) {
  {
    absl::MutexLock lock(&mutex_);
    const auto found = running_.find(RunningKey(upload_id, entry));
    if (found != running_.end() && found->second->bytes == bytes) {
      return found->second->hasher.Copy();
    }
  }
  Sha256Hasher hasher;
  if (bytes == 0) return hasher;
  WDELTA_ASSIGN_OR_RETURN(const auto file, OpenForRead(upload_id, entry));
  std::string buffer(std::min<uint64_t>(bytes, kHashBufferBytes), '\0');
  for (uint64_t offset = 0; offset < bytes; offset += buffer.size()) {
    buffer.resize(std::min<uint64_t>(bytes - offset, kHashBufferBytes));
    WDELTA_RETURN_IF_ERROR(file->Read(offset, buffer.data(), buffer.size()));
    hasher.Update(buffer);
  }
  return hasher;
}

absl::StatusOr<std::unique_ptr<StagedWriter>> Staging::OpenWriter(const std::string& upload_id,
                                                                  uint32_t entry) {
  WDELTA_ASSIGN_OR_RETURN(const uint64_t durable_bytes, DurableBytes(upload_id, entry));
  WDELTA_ASSIGN_OR_RETURN(auto file,
                          files_->OpenForAppend(PathOf(upload_id, entry), durable_bytes));
  if (durable_bytes == 0) WDELTA_RETURN_IF_ERROR(files_->SyncDirectory(FolderOf(upload_id)));
  WDELTA_ASSIGN_OR_RETURN(Sha256Hasher hasher, HashPrefix(upload_id, entry, durable_bytes));
  return std::make_unique<StagedWriter>(keys::Staged(upload_id, entry), durable_bytes,
                                        std::move(hasher), std::move(file));
}

absl::Status Staging::Rewind(const std::string& upload_id, uint32_t entry, StagedWriter::Mark mark,
                             StagedWriter& writer) {
  WDELTA_RETURN_IF_ERROR(writer.sync_status_);
  writer.file_.reset();
  WDELTA_ASSIGN_OR_RETURN(writer.file_,
                          files_->OpenForAppend(PathOf(upload_id, entry), mark.size_bytes));
  writer.size_bytes_ = mark.size_bytes;
  writer.hasher_ = std::move(mark.hasher);
  writer.append_status_ = absl::OkStatus();
  return absl::OkStatus();
}

void Staging::Remember(const std::string& upload_id, uint32_t entry, const StagedWriter& writer) {
  auto running = std::make_shared<Running>();
  running->bytes = writer.size_bytes();
  running->hasher = writer.hasher().Copy();
  absl::MutexLock lock(&mutex_);
  running_[RunningKey(upload_id, entry)] = std::move(running);
}

absl::StatusOr<Digest> Staging::DigestOf(const std::string& upload_id, uint32_t entry) {
  WDELTA_ASSIGN_OR_RETURN(const uint64_t durable_bytes, DurableBytes(upload_id, entry));
  WDELTA_ASSIGN_OR_RETURN(const Sha256Hasher hasher, HashPrefix(upload_id, entry, durable_bytes));
  return hasher.Current();
}

absl::StatusOr<std::shared_ptr<const RandomAccessFile>> Staging::OpenForRead(
    const std::string& upload_id, uint32_t entry) {
  WDELTA_ASSIGN_OR_RETURN(auto file, files_->OpenForRead(PathOf(upload_id, entry)));
  return std::shared_ptr<const RandomAccessFile>(std::move(file));
}

absl::StatusOr<ContentSourcePtr> Staging::OpenCheckpoint(const store::v1::ModelRecord& model) {
  return OpenStagedSource(model, [this, upload_id = model.staging_id()](uint32_t entry) {
    return OpenForRead(upload_id, entry);
  });
}

absl::Status Staging::Remove(const std::string& upload_id) {
  Failpoint("staging.remove.before");
  // Another caller may be removing the same files: what it takes away meanwhile is missed,
  // and looked for again.
  absl::Status removed = files_->RemoveAll(FolderOf(upload_id));
  for (int attempt = 1; absl::IsNotFound(removed) && attempt < kRemoveAttempts; ++attempt) {
    removed = files_->RemoveAll(FolderOf(upload_id));
  }
  WDELTA_RETURN_IF_ERROR(removed);
  Failpoint("staging.remove.after");
  {
    absl::MutexLock lock(&mutex_);
    const std::string prefix = absl::StrCat(upload_id, "/");
    absl::erase_if(running_, [&](const auto& entry) {
      return absl::string_view(entry.first).substr(0, prefix.size()) == prefix;
    });
  }
  const std::string prefix = keys::StagedPrefix(upload_id);
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> suffixes,
                          ScanKeySuffixes(*catalog_, prefix));
  if (suffixes.empty()) return absl::OkStatus();
  Commit commit;
  for (const std::string& suffix : suffixes) commit.Erase(absl::StrCat(prefix, suffix));
  return catalog_->Apply(commit).status();
}

absl::Status Staging::RemoveStrays(
    const std::function<absl::StatusOr<bool>(const std::string&)>& keep) {
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> folders, files_->List(directory_));
  for (const std::string& upload_id : folders) {
    WDELTA_ASSIGN_OR_RETURN(const bool wanted, keep(upload_id));
    if (!wanted) WDELTA_RETURN_IF_ERROR(Remove(upload_id));
  }
  return absl::OkStatus();
}

}  // namespace wdelta
