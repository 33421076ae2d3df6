#include "storage/engine/jobs/job_context.h"

#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr absl::Duration kSaveInterval = absl::Seconds(1);
constexpr absl::Duration kCancelCheckInterval = absl::Milliseconds(10);

}  // namespace

absl::Status JobContext::Advance(uint64_t bytes) {
  job_.record.set_done_bytes(job_.record.done_bytes() + bytes);
  if (stopping_()) {
    return MakeError(absl::StatusCode::kUnavailable, "STOPPING", "the daemon is stopping");
  }
  const absl::Time now = clock_->Now();
  if (now - last_save_ >= kSaveInterval) return Save();
  if (now - last_check_ < kCancelCheckInterval) return absl::OkStatus();
  last_check_ = now;
  return queue_->CheckHeld(job_);
}

absl::Status JobContext::Save() {
  last_save_ = clock_->Now();
  last_check_ = last_save_;
  return queue_->Renew(job_);
}

}  // namespace wdelta
