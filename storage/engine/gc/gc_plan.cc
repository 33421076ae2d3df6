#include "storage/engine/gc/gc_plan.h"

#include <map>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "storage/base/digest.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/catalog/maintenance_keys.h"
#include "storage/engine/jobs/rewrite.h"
#include "storage/engine/records/model_files.h"
#include "storage/engine/records/records.h"

namespace wdelta {
namespace {

using store::v1::GcKeptRecord;
using store::v1::ModelRecord;
using store::v1::StorageCandidate;

class Planner {
 public:
  Planner(const JobDependencies& deps, DeletedModels& deleted,
          const std::function<absl::Status()>& advance)
      : deps_(deps), deleted_(deleted), advance_([this, &advance] {
          if (ended_.ok()) ended_ = advance();
          return ended_;
        }) {}

  absl::StatusOr<GcUnit> UnitOf(const std::string& id) {
    GcUnit unit;
    unit.id = id;
    unit.deleted = deleted_.UnitOf(id, unit.dependents);
    unit.avoided.ids.insert(unit.deleted.begin(), unit.deleted.end());
    unit.avoided.doomed = deleted_.doomed();
    unit.avoided.moved = moved_;
    WDELTA_ASSIGN_OR_RETURN(unit.freed_bytes,
                            ExclusiveBytes(*deps_.catalog, *deps_.models, unit.deleted));
    WDELTA_RETURN_IF_ERROR(DropMoved(unit));
    WDELTA_RETURN_IF_ERROR(RecallDecision(unit));
    if (unit.was_refused) return unit;
    for (const std::string& dependent : unit.dependents) {
      absl::StatusOr<RewriteEstimate> estimate = Estimate(dependent, unit.avoided);
      WDELTA_RETURN_IF_ERROR(ended_);
      if (!estimate.ok()) {
        unit.problem = std::string(estimate.status().message());
        break;
      }
      unit.growth_bytes += estimate->Growth();
      unit.avoided.moved[dependent] = estimate->storage_parent_id;
      unit.rewrites.push_back(*std::move(estimate));
      // Of the rest none is likely to shrink.
      if (unit.growth_bytes >= static_cast<int64_t>(unit.freed_bytes)) break;
    }
    unit.avoided.moved = moved_;
    return unit;
  }

  void Leave(const GcUnit& unit, UnitFate fate) {
    deleted_.Free(unit.deleted);
    if (fate == UnitFate::kGone) return;
    for (const RewriteEstimate& rewrite : unit.rewrites) {
      moved_[rewrite.model_id] = rewrite.storage_parent_id;
    }
  }

 private:
  // Drops dependents that have gone or found another parent since the picture was taken, and
  // takes the fingerprint.
  absl::Status DropMoved(GcUnit& unit) {
    std::vector<std::string> dependents;
    Sha256Hasher hasher;
    hasher.Update(absl::StrCat(deps_.policy.max_chain_depth, " ", deps_.policy.max_fetch_cost, " ",
                               unit.freed_bytes, "\n"));
    for (const std::string& id : unit.deleted) hasher.Update(id);
    for (std::string& id : unit.dependents) {
      WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, deps_.models->GetById(id));
      if (!model.has_value()) continue;
      if (!unit.avoided.ids.contains(model->record.storage_parent_id())) continue;
      hasher.Update(id);
      hasher.Update(model->record.delta_digest());
      dependents.push_back(std::move(id));
    }
    unit.dependents = std::move(dependents);
    unit.fingerprint = hasher.Current().ToBytes();
    return absl::OkStatus();
  }

  absl::Status RecallDecision(GcUnit& unit) {
    WDELTA_ASSIGN_OR_RETURN(const auto kept,
                            ReadRecord<GcKeptRecord>(*deps_.catalog, keys::GcKept(unit.id)));
    if (!kept.has_value() || kept->message.fingerprint() != unit.fingerprint) {
      return absl::OkStatus();
    }
    const absl::Duration age =
        deps_.clock->Now() - absl::FromUnixMicros(kept->message.decide_time_us());
    if (age >= absl::Milliseconds(limits::kKeepGcDecisionMs)) return absl::OkStatus();
    unit.was_refused = true;
    unit.growth_bytes = kept->message.growth_bytes();
    return absl::OkStatus();
  }

  absl::StatusOr<RewriteEstimate> Estimate(const std::string& id, const AvoidedModels& avoided) {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, deps_.models->GetById(id));
    if (model.has_value() && model->record.state() == ModelRecord::DELETED &&
        HoldsBytes(model->record)) {
      return MakeError(absl::StatusCode::kUnavailable, "MODEL_IN_USE",
                       absl::StrCat("model '", model->record.name(),
                                    "' is deleted, and a merge has still to read it"));
    }
    if (!model.has_value() || model->record.state() != ModelRecord::READY) {
      return MakeError(absl::StatusCode::kUnavailable, "MODEL_DELETED",
                       absl::StrCat("model id:", id, " has changed meanwhile"));
    }
    const absl::StatusOr<ParentChoice> choice =
        ChooseForRewrite(deps_, model->record, &avoided, advance_);
    if (!choice.ok()) {
      return Annotate(choice.status(), absl::StrCat("model '", model->record.name(), "'"));
    }
    const StorageCandidate& chosen =
        choice->record.candidates(static_cast<int>(choice->record.chosen()));
    RewriteEstimate estimate;
    estimate.model_id = id;
    estimate.name = model->record.name();
    estimate.stored_bytes = model->record.stored_bytes();
    estimate.estimated_bytes = chosen.estimated_bytes();
    estimate.storage_parent_id = chosen.model_id();
    estimate.storage_parent_name = chosen.name();
    return estimate;
  }

  const JobDependencies& deps_;
  DeletedModels& deleted_;
  absl::Status ended_;
  const std::function<absl::Status()> advance_;
  absl::flat_hash_map<std::string, std::string> moved_;
};

}  // namespace

absl::Status PlanUnits(const JobDependencies& deps, DeletedModels& deleted,
                       const std::function<absl::Status()>& advance,
                       const std::function<absl::StatusOr<UnitFate>(const GcUnit& unit)>& on_unit,
                       const std::function<absl::Status(const GcUnit& unit)>& on_kept) {
  Planner planner(deps, deleted, advance);
  const std::vector<std::string> order = deleted.Needed();
  // Units that were not worth it, by the model that they were made for.
  std::map<std::string, GcUnit> kept;
  for (const std::string& id : order) {
    if (deleted.Get(id).is_freed) continue;
    WDELTA_ASSIGN_OR_RETURN(GcUnit unit, planner.UnitOf(id));
    UnitFate fate = UnitFate::kStays;
    if (unit.IsWorthIt()) {
      WDELTA_ASSIGN_OR_RETURN(fate, on_unit(unit));
    }
    if (fate != UnitFate::kStays) {
      planner.Leave(unit, fate);
    } else {
      unit.avoided = AvoidedModels();
      kept[id] = std::move(unit);
    }
  }
  for (const std::string& id : order) {
    if (!deleted.Get(id).is_freed) WDELTA_RETURN_IF_ERROR(on_kept(kept.at(id)));
  }
  return absl::OkStatus();
}

absl::Status NoteKept(const JobDependencies& deps, const GcUnit& unit) {
  if (unit.was_refused || !unit.problem.empty()) return absl::OkStatus();
  GcKeptRecord kept;
  kept.set_fingerprint(unit.fingerprint);
  kept.set_decide_time_us(ToMicros(deps.clock->Now()));
  kept.set_growth_bytes(unit.growth_bytes);
  // The model must be there still, or the note would outlive it.
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, deps.models->GetById(unit.id));
  if (!model.has_value() || !HoldsBytes(model->record)) return absl::OkStatus();
  Commit commit;
  commit.Require(keys::Model(unit.id), model->version);
  commit.Write(keys::GcKept(unit.id), kept.SerializeAsString());
  const absl::Status noted = deps.catalog->Apply(commit).status();
  return absl::IsAborted(noted) ? absl::OkStatus() : noted;
}

}  // namespace wdelta
