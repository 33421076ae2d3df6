// Holds deletions off for the moment in which a backup freezes the store.
//
// A backup freezes the catalog first and the blobs and staged files after it, so that
// whatever the catalog names was put before. What it names must not go in between either:
// every deletion takes the gate as a reader, the freezing as a writer.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "storage/base/file_system.h"
#include "storage/blobs/blob_store.h"

namespace wdelta {

// Any thread may call it. Owns neither the store nor the gate.
class GatedBlobStore final : public BlobStore {
 public:
  GatedBlobStore(BlobStore* inner, absl::Mutex* gate) : inner_(*inner), gate_(*gate) {}

  absl::StatusOr<PutResult> Put(const Digest& digest, absl::string_view data) override;
  absl::StatusOr<std::string> Get(const Digest& digest, uint64_t offset, uint64_t size) override;
  absl::Status ReadUnverified(const Digest& digest, uint64_t offset, uint64_t size,
                              char* destination) override;
  absl::StatusOr<BlobInfo> Stat(const Digest& digest) override;
  absl::StatusOr<BlobPage> List(const std::string& after_hex, uint32_t limit) override;
  absl::Status Delete(const Digest& digest) override;

 private:
  BlobStore& inner_;
  absl::Mutex& gate_;
};

// Likewise.
class GatedFileSystem final : public FileSystem {
 public:
  GatedFileSystem(FileSystem* inner, absl::Mutex* gate) : inner_(*inner), gate_(*gate) {}

  absl::Status CreateDirectories(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenForRead(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<AppendFile>> OpenForAppend(const std::string& path,
                                                            uint64_t size_bytes) override;
  absl::Status RemoveAll(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& path) override;
  absl::StatusOr<uint64_t> FreeBytes(const std::string& path) override;

 private:
  FileSystem& inner_;
  absl::Mutex& gate_;
};

}  // namespace wdelta
