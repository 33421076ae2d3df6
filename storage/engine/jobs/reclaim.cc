#include "storage/engine/jobs/reclaim.h"

#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/catalog/maintenance_keys.h"
#include "storage/engine/jobs/stored_delta.h"
#include "storage/engine/queue/merge_holds.h"
#include "storage/engine/records/model_files.h"
#include "storage/engine/records/records.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;

ModelRecord Tombstone(const ModelRecord& model) {
  ModelRecord tombstone;
  tombstone.set_id(model.id());
  tombstone.set_name(model.name());
  tombstone.set_state(ModelRecord::DELETED);
  *tombstone.mutable_parents() = model.parents();
  tombstone.set_create_time_us(model.create_time_us());
  tombstone.set_delete_time_us(model.delete_time_us());
  return tombstone;
}

absl::Status InUseError(absl::string_view what, const ModelRecord& model) {
  return MakeError(absl::StatusCode::kUnavailable, "MODEL_IN_USE",
                   absl::StrCat(what, "model '", model.name(), "' is being fetched"));
}

// Makes a deleted model that nothing is encoded against or computed from a tombstone. From then on
// nobody begins to read it.
absl::Status GiveUpBytes(const JobDependencies& deps, const std::string& id, JobQueue* next) {
  std::string staging_id;
  const absl::Status given_up = RetryOnConflict([&]() -> absl::Status {
    staging_id.clear();
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, deps.models->GetById(id));
    if (!model.has_value() || model->record.state() != ModelRecord::DELETED ||
        !HoldsBytes(model->record)) {
      return absl::OkStatus();
    }
    WDELTA_ASSIGN_OR_RETURN(const bool needed,
                            AnyWithPrefix(*deps.catalog, keys::EncodedOnPrefix(id)));
    WDELTA_ASSIGN_OR_RETURN(const bool is_input,
                            AnyWithPrefix(*deps.catalog, keys::NeededByPrefix(id)));
    if (needed || is_input) return absl::OkStatus();
    if (deps.reader->InUse(id)) return InUseError("", model->record);
    Commit commit;
    commit.Require(keys::Model(id), model->version);
    commit.Write(keys::Model(id), Tombstone(model->record).SerializeAsString());
    commit.Erase(keys::GcKept(id));
    WDELTA_RETURN_IF_ERROR(LeaveStorageParent(*deps.models, next, model->record, commit));
    WDELTA_RETURN_IF_ERROR(deps.catalog->Apply(commit).status());
    staging_id = model->record.staging_id();
    return absl::OkStatus();
  });
  WDELTA_RETURN_IF_ERROR(given_up);
  // Fetches of staged bytes hold the files open. Left by a crash, the folder is a stray.
  return staging_id.empty() ? absl::OkStatus() : deps.staging->Remove(staging_id);
}

// Lets go of what a deleted model was still to be computed from.
absl::Status LeaveMergeInputs(const JobDependencies& deps, const std::string& id) {
  return RetryOnConflict([&]() -> absl::Status {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, deps.models->GetById(id));
    if (!model.has_value() || model->record.state() != ModelRecord::DELETED ||
        !model->record.has_merge()) {
      return absl::OkStatus();
    }
    ModelRecord record = model->record;
    record.clear_merge();
    Commit commit;
    commit.Require(keys::Model(id), model->version);
    commit.Write(keys::Model(id), record.SerializeAsString());
    WDELTA_RETURN_IF_ERROR(ReleaseMergeInputs(*deps.catalog, *deps.queue, model->record, commit));
    return deps.catalog->Apply(commit).status();
  });
}

// Frees the former stored forms of a model.
absl::Status FreeFormer(const JobDependencies& deps, const std::string& id, Reclaimed& reclaimed) {
  return RetryOnConflict([&]() -> absl::Status {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, deps.models->GetById(id));
    if (!model.has_value() || model->record.retired_owners().empty()) return absl::OkStatus();
    if (deps.reader->FormerInUse(model->record)) {
      return InUseError("a former stored form of ", model->record);
    }
    for (const std::string& owner : model->record.retired_owners()) {
      WDELTA_RETURN_IF_ERROR(deps.claims->ReleaseAll(owner, &reclaimed.freed_bytes));
    }
    ModelRecord record = model->record;
    record.clear_retired_owners();
    Commit commit;
    commit.Require(keys::Model(id), model->version);
    commit.Write(keys::Model(id), record.SerializeAsString());
    return deps.catalog->Apply(commit).status();
  });
}

}  // namespace

absl::Status EraseTombstones(const JobDependencies& deps, const std::string& id) {
  std::vector<std::string> waiting = {id};
  while (!waiting.empty()) {
    const std::string next = waiting.back();
    waiting.pop_back();
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, deps.models->GetById(next));
    if (!model.has_value() || model->record.state() != ModelRecord::DELETED) continue;
    WDELTA_ASSIGN_OR_RETURN(const bool has_children,
                            AnyWithPrefix(*deps.catalog, keys::ChildPrefix(next)));
    if (HoldsBytes(model->record) || has_children) continue;
    Commit commit;
    commit.Require(keys::Model(next), model->version).Erase(keys::Model(next));
    for (const store::v1::ParentEdge& edge : model->record.parents()) {
      commit.Erase(keys::Child(edge.model_id(), next));
      waiting.push_back(edge.model_id());
    }
    WDELTA_RETURN_IF_ERROR(ReleaseMergeInputs(*deps.catalog, *deps.queue, model->record, commit));
    const absl::Status erased = deps.catalog->Apply(commit).status();
    if (!absl::IsAborted(erased)) WDELTA_RETURN_IF_ERROR(erased);  // erased by another
  }
  return absl::OkStatus();
}

absl::Status ReclaimModel(const JobDependencies& deps, const std::string& id, JobQueue* next,
                          Reclaimed& reclaimed) {
  WDELTA_RETURN_IF_ERROR(FreeFormer(deps, id, reclaimed));
  WDELTA_RETURN_IF_ERROR(LeaveMergeInputs(deps, id));
  WDELTA_RETURN_IF_ERROR(GiveUpBytes(deps, id, next));
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, deps.models->GetById(id));
  if (model.has_value() && HoldsBytes(model->record)) return absl::OkStatus();
  // Whoever began to read it before it became a tombstone is seen here.
  if (deps.reader->InUse(id)) {
    return InUseError("", model.has_value() ? model->record : ModelRecord());
  }
  WDELTA_ASSIGN_OR_RETURN(const bool has_claims,
                          AnyWithPrefix(*deps.catalog, keys::BlobsOfModelPrefix(id)));
  WDELTA_RETURN_IF_ERROR(deps.claims->ReleaseModel(id, &reclaimed.freed_bytes));
  if (has_claims) ++reclaimed.models_freed;
  return EraseTombstones(deps, id);
}

absl::Status RunReclaim(const JobDependencies& deps, JobContext& context) {
  WDELTA_RETURN_IF_ERROR(context.Advance(0));
  Reclaimed reclaimed;
  return ReclaimModel(deps, context.job().record.model_id(), deps.queue, reclaimed);
}

}  // namespace wdelta
