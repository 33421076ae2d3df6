// Keeps writers out of an upload while it is being finished or expired; part of uploads.h.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/engine/uploads/uploads.h"

namespace wdelta {

class Uploads::FinishGuard {
 public:
  // ABORTED (`UPLOAD_BUSY`) while a writer is open or another guard is held.
  static absl::StatusOr<std::unique_ptr<FinishGuard>> Enter(Uploads* uploads,
                                                            const std::string& upload_id) {
    absl::MutexLock lock(&uploads->mutex_);
    if (uploads->writers_.contains(upload_id) || uploads->finishing_.contains(upload_id)) {
      return MakeError(absl::StatusCode::kAborted, "UPLOAD_BUSY",
                       absl::StrCat("upload '", upload_id, "' is being written or finished"));
    }
    uploads->finishing_.insert(upload_id);
    return std::make_unique<FinishGuard>(uploads, upload_id);
  }
  FinishGuard(Uploads* uploads, std::string upload_id)
      : uploads_(uploads), upload_id_(std::move(upload_id)) {}
  ~FinishGuard() {
    absl::MutexLock lock(&uploads_->mutex_);
    uploads_->finishing_.erase(upload_id_);
  }
  FinishGuard(const FinishGuard&) = delete;
  FinishGuard& operator=(const FinishGuard&) = delete;

 private:
  Uploads* const uploads_;
  const std::string upload_id_;
};

}  // namespace wdelta
