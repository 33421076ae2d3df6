#include "storage/engine/gc/maintenance.h"

#include <optional>
#include <vector>

#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/catalog/maintenance_keys.h"
#include "storage/engine/gc/deleted_models.h"
#include "storage/engine/records/records.h"

namespace wdelta {

using store::v1::JobRecord;

absl::StatusOr<std::string> Maintenance::StartOnly(absl::string_view key, JobRecord::Kind kind,
                                                   bool repair) {
  return RetryOnConflict([&]() -> absl::StatusOr<std::string> {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Record> last, deps_.catalog->Get(key));
    if (last.has_value()) {
      const absl::StatusOr<Job> job = deps_.queue->Get(last->value);
      if (job.ok() && !HasEnded(job->record)) return last->value;
    }
    Commit commit;
    const std::string id = deps_.queue->AddTo(commit, kind, {}, store::v1::FAST, repair);
    commit.Require(std::string(key), last.has_value() ? last->version : 0);
    commit.Write(std::string(key), id);
    WDELTA_RETURN_IF_ERROR(deps_.catalog->Apply(commit).status());
    return id;
  });
}

absl::StatusOr<std::string> Maintenance::StartGc() {
  return StartOnly(keys::kGcJob, JobRecord::GC, false);
}

absl::StatusOr<std::string> Maintenance::StartScrub(bool repair) {
  return StartOnly(keys::kScrubJob, JobRecord::SCRUB, repair);
}

absl::StatusOr<std::optional<JobRecord>> Maintenance::LastScrub() {
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Record> id, deps_.catalog->Get(keys::kScrubJob));
  if (!id.has_value()) return std::optional<JobRecord>();
  absl::StatusOr<Job> job = deps_.queue->Get(id->value);
  if (absl::IsNotFound(job.status())) return std::optional<JobRecord>();
  WDELTA_RETURN_IF_ERROR(job.status());
  return std::optional<JobRecord>(std::move(job->record));
}

absl::StatusOr<GcPlanTotals> Maintenance::PlanGc(const GcPlanSink& sink) {
  GcPlanTotals totals;
  WDELTA_RETURN_IF_ERROR(Sweep(deps_, {"", true, sink.alive}, totals.swept));
  totals.freed_bytes = totals.swept.freed_bytes;
  absl::flat_hash_set<std::string> doomed;
  const absl::Status expiring =
      FindExpired(deps_, {true, sink.alive}, [&](const ExpiredModel& expired) {
        ++totals.models_deleted;
        doomed.insert(expired.model_id);
        return sink.deletion(expired);
      });
  WDELTA_RETURN_IF_ERROR(expiring);
  DeletedModels deleted;
  WDELTA_RETURN_IF_ERROR(deleted.Load(*deps_.catalog, doomed, sink.alive));

  const auto free = [&](const std::vector<std::string>& ids) -> absl::Status {
    for (const std::string& id : ids) {
      WDELTA_ASSIGN_OR_RETURN(const uint64_t bytes,
                              ExclusiveBytes(*deps_.catalog, *deps_.models, {id}));
      WDELTA_RETURN_IF_ERROR(sink.freed(id, deleted.Get(id).name, bytes));
      ++totals.models_freed;
    }
    WDELTA_ASSIGN_OR_RETURN(const uint64_t bytes,
                            ExclusiveBytes(*deps_.catalog, *deps_.models, ids));
    totals.freed_bytes += bytes;
    return absl::OkStatus();
  };
  const std::vector<std::string> unneeded = deleted.Unneeded();
  WDELTA_RETURN_IF_ERROR(free(unneeded));
  deleted.Free(unneeded);
  const absl::Status planned = PlanUnits(
      deps_, deleted, sink.alive,
      [&](const GcUnit& unit) -> absl::StatusOr<UnitFate> {
        for (const RewriteEstimate& rewrite : unit.rewrites) {
          WDELTA_RETURN_IF_ERROR(sink.rewrite(rewrite));
        }
        totals.models_rewritten += unit.rewrites.size();
        totals.growth_bytes += unit.growth_bytes;
        WDELTA_RETURN_IF_ERROR(free(unit.deleted));
        return UnitFate::kWouldGo;
      },
      [&](const GcUnit& unit) -> absl::Status {
        ++totals.models_kept;
        return sink.kept(unit.id, deleted.Get(unit.id).name, unit);
      });
  WDELTA_RETURN_IF_ERROR(planned);
  return totals;
}

}  // namespace wdelta
