// A file system that goes wrong where a test says so.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "storage/base/error.h"
#include "storage/base/file_system.h"

namespace wdelta::testing {

enum class FileOperation { kCreateDirectories, kOpenForAppend, kAppend, kSync, kSyncDirectory };

// As PosixFileSystem reports ENOSPC and EIO.
inline absl::Status DiskFullError(const std::string& path) {
  return MakeError(absl::StatusCode::kResourceExhausted, "DISK_FULL",
                   absl::StrCat("write ", path, ": No space left on device"));
}
inline absl::Status InputOutputError(const std::string& path) {
  return absl::InternalError(absl::StrCat("write ", path, ": Input/output error"));
}

// Passes everything on to another file system. Does not own it; it must outlive this
// one, which must outlive the files that it opened. Any thread may call it.
class FaultFileSystem final : public FileSystem {
 public:
  using MakeFault = absl::Status (*)(const std::string& path);

  explicit FaultFileSystem(FileSystem* target) : target_(*target) {}

  // The operation fails from now on: `skip` more times it still works. A failing
  // Append has written half of its data, as a full disk does it. A failing Sync fails
  // once: as Linux has it, the next one succeeds though what was written is lost.
  void Fail(FileOperation operation, MakeFault fault, int skip = 0) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    fault_ = {operation, fault, skip};
  }
  void Heal() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    fault_.reset();
  }
  // Called before every Append, in its thread. Set it while nothing is written.
  std::function<void()> before_append;

  // What FreeBytes tells; nullopt: the truth.
  void SetFreeBytes(std::optional<uint64_t> bytes) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    free_bytes_ = bytes;
  }

  absl::Status CreateDirectories(const std::string& path) override {
    const absl::Status fault = FaultOf(FileOperation::kCreateDirectories, path);
    return fault.ok() ? target_.CreateDirectories(path) : fault;
  }
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenForRead(const std::string& path) override {
    return target_.OpenForRead(path);
  }
  absl::StatusOr<std::unique_ptr<AppendFile>> OpenForAppend(const std::string& path,
                                                            uint64_t size_bytes) override {
    const absl::Status fault = FaultOf(FileOperation::kOpenForAppend, path);
    if (!fault.ok()) return fault;
    absl::StatusOr<std::unique_ptr<AppendFile>> file = target_.OpenForAppend(path, size_bytes);
    if (!file.ok()) return file.status();
    return std::make_unique<File>(this, path, *std::move(file));
  }
  absl::Status RemoveAll(const std::string& path) override { return target_.RemoveAll(path); }
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override {
    return target_.List(path);
  }
  absl::Status SyncDirectory(const std::string& path) override {
    const absl::Status fault = FaultOf(FileOperation::kSyncDirectory, path);
    return fault.ok() ? target_.SyncDirectory(path) : fault;
  }
  absl::StatusOr<uint64_t> FreeBytes(const std::string& path) override {
    absl::MutexLock lock(&mutex_);
    if (free_bytes_.has_value()) return *free_bytes_;
    return target_.FreeBytes(path);
  }

 private:
  class File final : public AppendFile {
   public:
    File(FaultFileSystem* owner, std::string path, std::unique_ptr<AppendFile> target)
        : owner_(*owner), path_(std::move(path)), target_(std::move(target)) {}
    absl::Status Append(absl::string_view data) override {
      if (owner_.before_append) owner_.before_append();
      const absl::Status fault = owner_.FaultOf(FileOperation::kAppend, path_);
      if (fault.ok()) return target_->Append(data);
      const absl::Status half = target_->Append(data.substr(0, data.size() / 2));
      return half.ok() ? fault : half;
    }
    absl::Status Sync() override {
      const absl::Status fault = owner_.FaultOf(FileOperation::kSync, path_);
      if (fault.ok()) return target_->Sync();
      owner_.Heal();
      return fault;
    }

   private:
    FaultFileSystem& owner_;
    const std::string path_;
    const std::unique_ptr<AppendFile> target_;
  };

  struct Fault {
    FileOperation operation;
    MakeFault make;
    int skip;
  };

  absl::Status FaultOf(FileOperation operation, const std::string& path)
      ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (!fault_.has_value() || fault_->operation != operation) return absl::OkStatus();
    if (fault_->skip > 0) {
      --fault_->skip;
      return absl::OkStatus();
    }
    return fault_->make(path);
  }

  FileSystem& target_;
  absl::Mutex mutex_;
  std::optional<Fault> fault_ ABSL_GUARDED_BY(mutex_);
  std::optional<uint64_t> free_bytes_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta::testing
