#include "storage/engine/queue/job_waiting.h"

#include <string>

#include "storage/base/error.h"

namespace wdelta {

bool IsWaiting(const absl::Status& outcome) {
  const std::string reason = ErrorReason(outcome);
  return reason == "PARENT_NOT_READY" || reason == "MODEL_IN_USE" || reason == "STOPPING" ||
         reason == "BLOB_RECLAIMED" || reason == "OTHERS_WAIT" || reason == "DISK_FULL" ||
         reason == "DATABASE_WENT_BACK";
}

}  // namespace wdelta
