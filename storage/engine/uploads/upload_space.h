// The disk space that open uploads may still write: reserved when entries are declared, given
// back as their bytes become durable, and kept until the upload ends. Any thread may call it.
#pragma once

#include <cstdint>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "storage/base/status_macros.h"
#include "storage/engine/disk/disk_guard.h"

namespace wdelta {

class UploadSpace {
 public:
  // Does not own the guard, which must outlive it.
  explicit UploadSpace(DiskGuard* disk) : disk_(*disk) {}

  // RESOURCE_EXHAUSTED (`DISK_FULL`), naming the upload. No bytes: whether the disk is full.
  absl::Status Add(const std::string& upload_id, uint64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_) {
    if (bytes == 0) return CheckNotFull(upload_id);
    absl::MutexLock lock(&mutex_);
    WDELTA_ASSIGN_OR_RETURN(DiskGuard::Reservation added,
                            disk_.Reserve(bytes, absl::StrCat("upload '", upload_id, "'")));
    Keep(upload_id, std::move(added));
    return absl::OkStatus();
  }
  // What an upload had before a restart.
  void Restore(const std::string& upload_id, uint64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    Keep(upload_id, disk_.ReserveAnyway(bytes));
  }
  // Of what was written, or will not be. Harmless for an upload that has ended.
  void GiveBack(const std::string& upload_id, uint64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    const auto found = held_.find(upload_id);
    if (found == held_.end()) return;
    found->second.GiveBack(bytes);
    if (found->second.bytes() == 0) held_.erase(found);
  }
  void GiveBackAll(const std::string& upload_id) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    held_.erase(upload_id);
  }

  // RESOURCE_EXHAUSTED (`DISK_FULL`) while not even what is reserved may be written.
  absl::Status CheckNotFull(const std::string& upload_id) {
    return disk_.CheckNotFull(absl::StrCat("upload '", upload_id, "'"));
  }

 private:
  void Keep(const std::string& upload_id, DiskGuard::Reservation added)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    held_.try_emplace(upload_id, &disk_, 0).first->second.Take(std::move(added));
  }

  DiskGuard& disk_;
  absl::Mutex mutex_;
  absl::flat_hash_map<std::string, DiskGuard::Reservation> held_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta
