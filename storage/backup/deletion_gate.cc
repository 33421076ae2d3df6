#include "storage/backup/deletion_gate.h"

namespace wdelta {

absl::StatusOr<PutResult> GatedBlobStore::Put(const Digest& digest, absl::string_view data) {
  return inner_.Put(digest, data);
}

absl::StatusOr<std::string> GatedBlobStore::Get(const Digest& digest, uint64_t offset,
                                                uint64_t size) {
  return inner_.Get(digest, offset, size);
}

absl::Status GatedBlobStore::ReadUnverified(const Digest& digest, uint64_t offset, uint64_t size,
                                            char* destination) {
  return inner_.ReadUnverified(digest, offset, size, destination);
}

absl::StatusOr<BlobInfo> GatedBlobStore::Stat(const Digest& digest) { return inner_.Stat(digest); }

absl::StatusOr<BlobPage> GatedBlobStore::List(const std::string& after_hex, uint32_t limit) {
  return inner_.List(after_hex, limit);
}

absl::Status GatedBlobStore::Delete(const Digest& digest) {
  absl::ReaderMutexLock lock(&gate_);
  return inner_.Delete(digest);
}

absl::Status GatedFileSystem::CreateDirectories(const std::string& path) {
  return inner_.CreateDirectories(path);
}

absl::StatusOr<std::unique_ptr<RandomAccessFile>> GatedFileSystem::OpenForRead(
    const std::string& path) {
  return inner_.OpenForRead(path);
}

absl::StatusOr<std::unique_ptr<AppendFile>> GatedFileSystem::OpenForAppend(const std::string& path,
                                                                           uint64_t size_bytes) {
  return inner_.OpenForAppend(path, size_bytes);
}

absl::Status GatedFileSystem::RemoveAll(const std::string& path) {
  absl::ReaderMutexLock lock(&gate_);
  return inner_.RemoveAll(path);
}

absl::StatusOr<std::vector<std::string>> GatedFileSystem::List(const std::string& path) {
  return inner_.List(path);
}

absl::Status GatedFileSystem::SyncDirectory(const std::string& path) {
  return inner_.SyncDirectory(path);
}

absl::StatusOr<uint64_t> GatedFileSystem::FreeBytes(const std::string& path) {
  return inner_.FreeBytes(path);
}

}  // namespace wdelta
