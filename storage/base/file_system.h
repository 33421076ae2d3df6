// The files of the staging area, as a dependency, so that tests can fail any of
// their operations. RocksDB keeps its own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace wdelta {

// Readable at any offset by any number of threads.
class RandomAccessFile {
 public:
  virtual ~RandomAccessFile() = default;
  // Fills `destination[0, size)`. DATA_LOSS when the file ends before.
  virtual absl::Status Read(uint64_t offset, char* destination, size_t size) const = 0;
  virtual absl::StatusOr<uint64_t> SizeBytes() const = 0;
};

// Grows at its end. One thread at a time. Closed by the destructor.
class AppendFile {
 public:
  virtual ~AppendFile() = default;
  // RESOURCE_EXHAUSTED when the disk is full; the file may have grown by a part.
  virtual absl::Status Append(absl::string_view data) = 0;
  // Everything appended survives a power loss once this returns OK.
  virtual absl::Status Sync() = 0;
};

// Any thread may call it. Errors: NOT_FOUND, RESOURCE_EXHAUSTED (ENOSPC, EDQUOT),
// PERMISSION_DENIED, otherwise INTERNAL; each names the path.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual absl::Status CreateDirectories(const std::string& path) = 0;
  virtual absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenForRead(
      const std::string& path) = 0;
  // Creates the file when it is absent, cuts it to `size_bytes` when it is longer
  // (OUT_OF_RANGE when shorter), and appends there.
  virtual absl::StatusOr<std::unique_ptr<AppendFile>> OpenForAppend(const std::string& path,
                                                                    uint64_t size_bytes) = 0;
  // Removes a file or a folder with all it holds; absence is fine.
  virtual absl::Status RemoveAll(const std::string& path) = 0;
  // Names in a folder, sorted; empty when the folder is absent.
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& path) = 0;
  // Makes created and removed names of a folder survive a power loss.
  virtual absl::Status SyncDirectory(const std::string& path) = 0;
  virtual absl::StatusOr<uint64_t> FreeBytes(const std::string& path) = 0;
};

std::unique_ptr<FileSystem> NewPosixFileSystem();

}  // namespace wdelta
