#include "storage/blobs/rocksdb_status.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"

namespace wdelta {
namespace {

// RocksDB tells a held lock from other IO errors by its text alone: the first by
// another process, the second by this one.
bool IsLockHeld(const rocksdb::Status& status) {
  if (!status.IsIOError() || status.getState() == nullptr) return false;
  const absl::string_view text = status.getState();
  return absl::StartsWith(text, "While lock file") ||
         absl::StartsWith(text, "lock hold by current process");
}

}  // namespace

absl::Status FromRocksdb(const rocksdb::Status& status, absl::string_view what) {
  if (status.ok()) return absl::OkStatus();
  const std::string message = absl::StrCat(what, ": ", status.ToString());
  // RocksDB knows a quota's error by its text only, and tells an error that stopped the
  // database again in the text of others.
  const bool is_told = (status.IsIOError() || status.IsIncomplete()) &&
                       (absl::StrContains(message, "No space left on device") ||
                        absl::StrContains(message, "Disk quota exceeded"));
  if (status.IsNoSpace() || status.subcode() == rocksdb::Status::SubCode::kSpaceLimit || is_told) {
    return MakeError(absl::StatusCode::kResourceExhausted, "DISK_FULL", message);
  }
  if (status.IsCorruption()) return absl::DataLossError(message);
  if (status.IsBusy() || status.IsTimedOut() || status.IsTryAgain() ||
      status.IsShutdownInProgress()) {
    return absl::UnavailableError(message);
  }
  if (IsLockHeld(status)) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "DATA_DIR_IN_USE", message);
  }
  return absl::InternalError(message);
}

}  // namespace wdelta
