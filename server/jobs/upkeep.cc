#include "server/jobs/upkeep.h"

#include <algorithm>

#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr absl::Duration kDiskInterval = absl::Milliseconds(limits::kDiskFullRetryMs);

// Zero: never.
absl::Duration ExpiryInterval(absl::Duration upload_ttl) {
  if (upload_ttl == absl::InfiniteDuration()) return absl::ZeroDuration();
  return std::min(absl::Milliseconds(limits::kExpiryCheckMs), upload_ttl / 4);
}

}  // namespace

Upkeep::Upkeep(ModelStore* store, const UpkeepOptions& options, spdlog::logger* log)
    : store_(*store),
      log_(*log),
      gc_(
          "gc", [this] { return store_.maintenance().StartGc().status(); }, options.gc_interval,
          log),
      expiry_(
          "expiry of uploads", [this] { return ExpireUploads(); },
          ExpiryInterval(options.upload_ttl), log),
      disk_(
          "disk", [this] { return LookAtDisk(); }, kDiskInterval, log) {}

void Upkeep::RequestStop() {
  gc_.RequestStop();
  expiry_.RequestStop();
  disk_.RequestStop();
}

absl::Status Upkeep::ExpireUploads() {
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> expired, store_.uploads().ExpireIdle());
  for (const std::string& id : expired) {
    log_.info("upload {}: cancelled after a long time without activity", id);
  }
  return absl::OkStatus();
}

absl::Status Upkeep::LookAtDisk() {
  WDELTA_ASSIGN_OR_RETURN(const DiskGuard::State disk, store_.disk().Look());
  if (disk.is_full && !was_full_) {
    log_.warn("disk: {} bytes are free, less than min_free_bytes {}: uploads and jobs wait",
              disk.free_bytes, disk.min_free_bytes);
  } else if (!disk.is_full && was_full_) {
    log_.info("disk: {} bytes are free: uploads and jobs go on", disk.free_bytes);
  }
  was_full_ = disk.is_full;
  return absl::OkStatus();
}

}  // namespace wdelta
