// Uploads that nobody goes on with give their space back.
#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/records/records.h"
#include "storage/engine/uploads/upload_guard.h"
#include "storage/engine/uploads/uploads.h"

namespace wdelta {

using store::v1::UploadRecord;

absl::Status UploadExpired(const UploadRecord& upload) {
  return MakeError(absl::StatusCode::kFailedPrecondition, "UPLOAD_EXPIRED",
                   absl::StrCat("upload '", upload.id(), "' of ", upload.name(),
                                " was cancelled after a long time without activity; start "
                                "another, with another request id"));
}

absl::Time Uploads::ExpireTime(const UploadRecord& upload,
                               const std::vector<store::v1::StagedSizeRecord>& staged) const {
  if (deps_.upload_ttl == absl::InfiniteDuration() || upload.state() != UploadRecord::OPEN) {
    return absl::InfiniteFuture();
  }
  int64_t last_us = std::max(upload.create_time_us(), upload.update_time_us());
  for (const auto& size : staged) last_us = std::max(last_us, size.update_time_us());
  return absl::FromUnixMicros(last_us) + deps_.upload_ttl;
}

absl::StatusOr<bool> Uploads::ExpireOne(const std::string& upload_id) {
  const auto guard = FinishGuard::Enter(this, upload_id);
  if (absl::IsAborted(guard.status())) return false;  // somebody goes on with it
  WDELTA_RETURN_IF_ERROR(guard.status());
  const absl::StatusOr<Stored> upload = Load(upload_id);
  if (absl::IsNotFound(upload.status())) return false;
  WDELTA_RETURN_IF_ERROR(upload.status());
  if (upload->record.state() != UploadRecord::OPEN) return false;
  WDELTA_ASSIGN_OR_RETURN(const auto staged,
                          deps_.staging->DurableSizes(upload_id, upload->record.entries_size()));
  if (ExpireTime(upload->record, staged) > deps_.clock->Now()) return false;
  UploadRecord expired = upload->record;
  expired.set_state(UploadRecord::CANCELLED);
  expired.set_expired(true);
  expired.set_update_time_us(ToMicros(deps_.clock->Now()));
  Commit commit;
  commit.Require(keys::Upload(upload_id), upload->version);
  commit.Write(keys::Upload(upload_id), expired.SerializeAsString());
  commit.Erase(keys::OpenUpload(upload_id));
  const absl::Status ended = deps_.catalog->Apply(commit).status();
  if (absl::IsAborted(ended)) return false;  // entries were declared meanwhile
  WDELTA_RETURN_IF_ERROR(ended);
  space_.GiveBackAll(upload_id);
  WDELTA_RETURN_IF_ERROR(deps_.staging->Remove(upload_id));
  return true;
}

absl::StatusOr<std::vector<std::string>> Uploads::ExpireIdle() {
  std::vector<std::string> expired;
  if (deps_.upload_ttl == absl::InfiniteDuration()) return expired;
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> open,
                          ScanKeySuffixes(*deps_.catalog, std::string(keys::kOpenUploads)));
  for (const std::string& upload_id : open) {
    WDELTA_ASSIGN_OR_RETURN(const bool has_expired, ExpireOne(upload_id));
    if (has_expired) expired.push_back(upload_id);
  }
  return expired;
}

}  // namespace wdelta
