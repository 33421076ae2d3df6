#include "storage/engine/queue/job_stats.h"

namespace wdelta {

using store::v1::GcReport;
using store::v1::JobRecord;
using store::v1::ScrubReport;

void JobStats::Add(const JobRecord& begun, const JobRecord& ended, RunResult result,
                   absl::Duration duration) {
  durations_seconds_.Add({ended.kind(), result}, absl::ToDoubleSeconds(duration));
  absl::MutexLock lock(&mutex_);
  MaintenanceTotals& all = maintenance_;
  if (ended.kind() == JobRecord::GC) {
    const GcReport& from = begun.gc_report();
    const GcReport& to = ended.gc_report();
    all.gc_freed_bytes += to.freed_bytes() - from.freed_bytes();
    all.gc_written_bytes += to.written_bytes() - from.written_bytes();
    all.gc_models_deleted += to.models_deleted() - from.models_deleted();
    all.gc_models_rewritten += to.models_rewritten() - from.models_rewritten();
    all.gc_models_freed += to.models_freed() - from.models_freed();
  } else if (ended.kind() == JobRecord::SCRUB && result == RunResult::kSucceeded) {
    const ScrubReport& report = ended.scrub_report();
    all.scrub_models += report.model_count();
    all.scrub_bytes += report.blob_bytes();
    all.scrub_damages += report.damage_count();
    all.scrub_repairs += report.repaired_count();
    all.last_scrub_damages = report.damage_count() - report.repaired_count();
  }
}

}  // namespace wdelta
