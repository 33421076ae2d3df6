// Keeps writers off a disk that is nearly full, so that what is stored stays served and
// the database never meets the last byte. Any thread may call it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "storage/base/file_system.h"

namespace wdelta {

class DiskGuard {
 public:
  struct State {
    uint64_t free_bytes = 0;
    uint64_t min_free_bytes = 0;
    uint64_t reserved_bytes = 0;
    bool is_full = false;
  };

  // Space that its holder may still write, given back by the destructor. What was written
  // and not given back counts twice. One thread at a time.
  class Reservation {
   public:
    Reservation(DiskGuard* guard, uint64_t bytes) : guard_(guard), bytes_(bytes) {}
    ~Reservation() { GiveBack(bytes_); }
    Reservation(Reservation&& other) noexcept
        : guard_(other.guard_), bytes_(std::exchange(other.bytes_, 0)) {}
    Reservation& operator=(Reservation&&) = delete;

    uint64_t bytes() const { return bytes_; }
    // At most what it has.
    void GiveBack(uint64_t bytes) {
      bytes = std::min(bytes, bytes_);
      if (bytes > 0) guard_->GiveBack(bytes);
      bytes_ -= bytes;
    }
    // Takes over what another of the same guard has.
    void Take(Reservation other) { bytes_ += std::exchange(other.bytes_, 0); }

   private:
    DiskGuard* const guard_;
    uint64_t bytes_;
  };

  // The disk is full from when less than `min_free_bytes` are free until a quarter more
  // than that is (limits::kDiskRecoveryDivisor). 0: never. Does not own the file system.
  DiskGuard(FileSystem* files, std::string directory, uint64_t min_free_bytes)
      : files_(*files), directory_(std::move(directory)), min_free_bytes_(min_free_bytes) {}
  DiskGuard(const DiskGuard&) = delete;
  DiskGuard& operator=(const DiskGuard&) = delete;

  // Asks the file system.
  absl::StatusOr<State> Look() ABSL_LOCKS_EXCLUDED(mutex_);

  // RESOURCE_EXHAUSTED (`DISK_FULL`) while the disk is full, or when `bytes` and all that is
  // reserved would fill it. `what` begins the message.
  absl::StatusOr<Reservation> Reserve(uint64_t bytes, absl::string_view what)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // For what was promised before a restart, whether there is still space or not.
  Reservation ReserveAnyway(uint64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);
  // For the holder of a reservation, before it writes a part of it: RESOURCE_EXHAUSTED
  // (`DISK_FULL`) while the disk is full, by whatever has taken the space.
  absl::Status CheckNotFull(absl::string_view what) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  absl::StatusOr<State> LookLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void GiveBack(uint64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);

  FileSystem& files_;
  const std::string directory_;
  const uint64_t min_free_bytes_;
  absl::Mutex mutex_;
  bool is_full_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t reserved_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace wdelta
