// What the daemon looks after by itself, beside its jobs.
#pragma once

#include "absl/time/time.h"
#include "server/jobs/periodic_task.h"
#include "spdlog/logger.h"
#include "storage/engine/model_store.h"

namespace wdelta {

struct UpkeepOptions {
  absl::Duration gc_interval;  // zero: never
  absl::Duration upload_ttl = absl::InfiniteDuration();
};

// Starts garbage collections, cancels expired uploads, and tells the log when the disk is
// full and when it no longer is. Any thread may call it.
class Upkeep {
 public:
  // Owns neither; both must outlive it.
  Upkeep(ModelStore* store, const UpkeepOptions& options, spdlog::logger* log);

  // Returns at once.
  void RequestStop();

 private:
  absl::Status ExpireUploads();
  absl::Status LookAtDisk();

  ModelStore& store_;
  spdlog::logger& log_;
  bool was_full_ = false;  // of the thread of `disk_`
  PeriodicTask gc_;
  PeriodicTask expiry_;
  PeriodicTask disk_;
};

}  // namespace wdelta
