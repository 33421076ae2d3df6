#include "storage/engine/disk/disk_guard.h"

#include "absl/numeric/int128.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

absl::Status DiskFull(absl::string_view what, absl::uint128 needed_bytes, uint64_t free_bytes) {
  const std::string needed = absl::Uint128High64(needed_bytes) > 0
                                 ? "more than 2^64"
                                 : absl::StrCat(absl::Uint128Low64(needed_bytes));
  return MakeError(absl::StatusCode::kResourceExhausted, "DISK_FULL",
                   absl::StrCat(what, ": expected at least ", needed,
                                " bytes of free disk space, found ", free_bytes),
                   {{"expected", needed}, {"found", absl::StrCat(free_bytes)}});
}

}  // namespace

absl::StatusOr<DiskGuard::State> DiskGuard::LookLocked() {
  WDELTA_ASSIGN_OR_RETURN(const uint64_t free_bytes, files_.FreeBytes(directory_));
  const uint64_t headroom = is_full_ ? min_free_bytes_ / limits::kDiskRecoveryDivisor : 0;
  is_full_ = absl::uint128(free_bytes) < absl::uint128(min_free_bytes_) + headroom;
  return State{free_bytes, min_free_bytes_, reserved_bytes_, is_full_};
}

absl::StatusOr<DiskGuard::State> DiskGuard::Look() {
  absl::MutexLock lock(&mutex_);
  return LookLocked();
}

absl::StatusOr<DiskGuard::Reservation> DiskGuard::Reserve(uint64_t bytes, absl::string_view what) {
  absl::MutexLock lock(&mutex_);
  WDELTA_ASSIGN_OR_RETURN(const State state, LookLocked());
  const uint64_t headroom = is_full_ ? min_free_bytes_ / limits::kDiskRecoveryDivisor : 0;
  const absl::uint128 needed = absl::uint128(bytes) + reserved_bytes_ + min_free_bytes_ + headroom;
  if (needed > state.free_bytes) return DiskFull(what, needed, state.free_bytes);
  reserved_bytes_ += bytes;
  return Reservation(this, bytes);
}

DiskGuard::Reservation DiskGuard::ReserveAnyway(uint64_t bytes) {
  absl::MutexLock lock(&mutex_);
  reserved_bytes_ += bytes;
  return Reservation(this, bytes);
}

absl::Status DiskGuard::CheckNotFull(absl::string_view what) {
  absl::MutexLock lock(&mutex_);
  WDELTA_ASSIGN_OR_RETURN(const State state, LookLocked());
  if (!state.is_full) return absl::OkStatus();
  const uint64_t headroom = min_free_bytes_ / limits::kDiskRecoveryDivisor;
  return DiskFull(what, absl::uint128(min_free_bytes_) + headroom, state.free_bytes);
}

void DiskGuard::GiveBack(uint64_t bytes) {
  absl::MutexLock lock(&mutex_);
  reserved_bytes_ -= bytes;
}

}  // namespace wdelta
