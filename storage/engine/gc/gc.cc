#include "storage/engine/gc/gc.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/gc/deleted_models.h"
#include "storage/engine/gc/gc_plan.h"
#include "storage/engine/gc/retention.h"
#include "storage/engine/gc/sweep.h"
#include "storage/engine/jobs/reclaim.h"
#include "storage/engine/jobs/rewrite.h"
#include "storage/engine/queue/job_failure.h"
#include "storage/engine/records/records.h"

namespace wdelta {
namespace {

using store::v1::GcReport;
using store::v1::JobRecord;
using store::v1::ModelRecord;

class Gc {
 public:
  Gc(const JobDependencies& deps, JobContext& context)
      : deps_(deps), context_(context), report_(context.gc_report()) {}

  absl::Status Run() {
    report_.clear_models_kept();
    report_.clear_models_in_use();
    report_.clear_problems();
    const absl::Status status = Collect();
    if (status.ok()) return RetryOnConflict([this] { return End(); });
    // What was done so far is told all the same; not by a job that was lost or cancelled.
    context_.Save().IgnoreError();
    return status;
  }

 private:
  absl::Status Collect() {
    const auto alive = [this] { return context_.Advance(0); };
    Swept swept;
    const absl::Status sweeping = Sweep(deps_, {context_.job().record.id(), false, alive}, swept);
    report_.set_freed_bytes(report_.freed_bytes() + swept.freed_bytes);
    report_.set_orphan_blobs(report_.orphan_blobs() + swept.orphan_blobs);
    report_.set_orphan_claims(report_.orphan_claims() + swept.orphan_claims);
    report_.set_orphan_uploads(report_.orphan_uploads() + swept.orphan_uploads);
    report_.set_old_records(report_.old_records() + swept.old_records);
    WDELTA_RETURN_IF_ERROR(sweeping);

    WDELTA_RETURN_IF_ERROR(ApplyRules());
    DeletedModels deleted;
    WDELTA_RETURN_IF_ERROR(deleted.Load(*deps_.catalog, {}, alive));
    for (const std::string& id : deleted.with_former_forms()) {
      WDELTA_RETURN_IF_ERROR(Reclaim(id));
    }
    const std::vector<std::string> unneeded = deleted.Unneeded();
    for (const std::string& id : unneeded) WDELTA_RETURN_IF_ERROR(Reclaim(id));
    deleted.Free(unneeded);
    for (const std::string& id : deleted.tombstones()) WDELTA_RETURN_IF_ERROR(Reclaim(id));
    return PlanUnits(
        deps_, deleted, alive, [this](const GcUnit& unit) { return Collect(unit); },
        [this](const GcUnit& unit) -> absl::Status {
          report_.set_models_kept(report_.models_kept() + 1);
          if (!unit.problem.empty()) Note(unit.problem);
          if (undecided_.contains(unit.id)) return absl::OkStatus();
          return NoteKept(deps_, unit);
        });
  }

  absl::Status ApplyRules() {
    const RetentionOptions options{false, [this] { return context_.Advance(0); }};
    return FindExpired(deps_, options, [this](const ExpiredModel& expired) -> absl::Status {
      WDELTA_ASSIGN_OR_RETURN(const bool is_deleted, DeleteExpired(*deps_.models, expired));
      if (is_deleted) report_.set_models_deleted(report_.models_deleted() + 1);
      return context_.Advance(0);
    });
  }

  // It goes when all that is encoded against its models was encoded anew.
  absl::StatusOr<UnitFate> Collect(const GcUnit& unit) {
    int64_t growth = unit.growth_bytes;
    for (const RewriteEstimate& estimate : unit.rewrites) {
      growth -= estimate.Growth();
      WDELTA_ASSIGN_OR_RETURN(const bool is_rewritten, RewriteOne(unit, estimate, growth));
      if (!is_rewritten) {
        // Nothing may lean on some of them any more all the same.
        for (const std::string& id : unit.deleted) WDELTA_RETURN_IF_ERROR(Reclaim(id));
        return UnitFate::kStays;
      }
      WDELTA_RETURN_IF_ERROR(Reclaim(estimate.model_id));
      WDELTA_RETURN_IF_ERROR(context_.Save());
      WDELTA_RETURN_IF_ERROR(GiveWay());
    }
    for (const std::string& id : unit.deleted) WDELTA_RETURN_IF_ERROR(Reclaim(id));
    return UnitFate::kGone;
  }

  // `growth`: of those of the unit that were encoded anew, and by estimate of those to come.
  // It becomes what it is with this model by fact.
  absl::StatusOr<bool> RewriteOne(const GcUnit& unit, const RewriteEstimate& estimate,
                                  int64_t& growth) {
    const std::string& job_id = context_.job().record.id();
    RewriteRequest request;
    request.model_id = estimate.model_id;
    request.owner = RepackOwner(estimate.model_id, job_id);
    request.avoided = &unit.avoided;
    request.is_small_enough = [&](const RewriteOutcome& outcome) {
      return growth + GrowthOf(outcome) < static_cast<int64_t>(unit.freed_bytes);
    };
    request.add_to_commit = [&](const ModelRecord&, Commit& commit) -> absl::Status {
      WDELTA_ASSIGN_OR_RETURN(const Job held, context_.Held());
      commit.Require(keys::Job(job_id), held.version);
      return absl::OkStatus();
    };
    const absl::StatusOr<RewriteOutcome> outcome = RewriteModel(deps_, context_, request);
    if (!outcome.ok()) {
      if (EndsJob(outcome.status())) return outcome.status();
      Note(absl::StrCat("model '", estimate.name, "': ", outcome.status().message()));
      undecided_.insert(unit.id);
      WDELTA_RETURN_IF_ERROR(ReleaseFailedForm(deps_, estimate.model_id, request.owner));
      return false;
    }
    growth += GrowthOf(*outcome);
    if (!outcome->is_rewritten) return false;
    report_.set_models_rewritten(report_.models_rewritten() + 1);
    report_.set_written_bytes(report_.written_bytes() + outcome->new_bytes);
    return true;
  }

  static int64_t GrowthOf(const RewriteOutcome& outcome) {
    return static_cast<int64_t>(outcome.stored_bytes) - static_cast<int64_t>(outcome.former_bytes);
  }

  absl::Status Reclaim(const std::string& id) {
    WDELTA_RETURN_IF_ERROR(context_.Advance(0));
    Reclaimed reclaimed;
    const absl::Status status = ReclaimModel(deps_, id, nullptr, reclaimed);
    report_.set_freed_bytes(report_.freed_bytes() + reclaimed.freed_bytes);
    report_.set_models_freed(report_.models_freed() + reclaimed.models_freed);
    if (status.ok()) return status;
    left_.insert(id);
    if (ErrorReason(status) == "MODEL_IN_USE") {
      report_.set_models_in_use(report_.models_in_use() + 1);
    } else if (!absl::IsAborted(status)) {
      Note(absl::StrCat("model id:", id, ": ", status.message()));
    }
    return absl::OkStatus();
  }

  // Ends this run where other jobs have no worker; it goes on after them.
  absl::Status GiveWay() {
    WDELTA_ASSIGN_OR_RETURN(const bool others_wait,
                            deps_.queue->AnyDueBut(context_.job().record.id()));
    if (!others_wait) return absl::OkStatus();
    return MakeError(absl::StatusCode::kUnavailable, "OTHERS_WAIT", "other jobs wait");
  }

  absl::Status End() {
    WDELTA_ASSIGN_OR_RETURN(Job job, context_.Held());
    *job.record.mutable_gc_report() = report_;
    Commit commit;
    WDELTA_ASSIGN_OR_RETURN(const std::set<std::string> waiting, deps_.queue->ModelsToReclaim());
    // What could not be freed goes when it can.
    for (const std::string& id : left_) {
      if (waiting.contains(id)) continue;
      ModelRecord model;
      model.set_id(id);
      deps_.queue->AddTo(commit, JobRecord::RECLAIM, model);
    }
    deps_.queue->AddEnd(commit, job, JobRecord::SUCCEEDED, "");
    return deps_.catalog->Apply(commit).status();
  }

  void Note(std::string problem) {
    if (report_.problems_size() < limits::kMaxGcProblems) {
      report_.add_problems(std::move(problem));
    }
  }

  const JobDependencies& deps_;
  JobContext& context_;
  GcReport& report_;
  std::set<std::string> left_;       // to RECLAIM jobs
  std::set<std::string> undecided_;  // units that stay since something failed
};

}  // namespace

absl::Status RunGc(const JobDependencies& deps, JobContext& context) {
  return Gc(deps, context).Run();
}

}  // namespace wdelta
