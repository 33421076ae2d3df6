#include "storage/engine/reclaim.h"

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/records.h"

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

// Erases the record of a deleted model and its edges once no descendant is left,
// then looks at its parents, which may have waited for just that.
absl::Status EraseTombstones(const JobRunner::Dependencies& deps, const std::string& id) {
  std::vector<std::string> waiting = {id};
  while (!waiting.empty()) {
    const std::string next = waiting.back();
    waiting.pop_back();
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, deps.models->GetById(next));
    if (!model.has_value() || model->record.state() != ModelRecord::DELETED) continue;
    const bool holds_bytes =
        model->record.delta_pieces_size() > 0 || !model->record.staging_id().empty();
    WDELTA_ASSIGN_OR_RETURN(const bool has_children,
                            AnyWithPrefix(*deps.catalog, keys::ChildPrefix(next)));
    if (holds_bytes || has_children) continue;
    Commit commit;
    commit.Require(keys::Model(next), model->version).Erase(keys::Model(next));
    for (const store::v1::ParentEdge& edge : model->record.parents()) {
      commit.Erase(keys::Child(edge.model_id(), next));
      waiting.push_back(edge.model_id());
    }
    WDELTA_RETURN_IF_ERROR(deps.catalog->Apply(commit).status());
  }
  return absl::OkStatus();
}

// Frees one model; `storage_parent` becomes the model to look at next, or empty.
absl::Status FreeBytes(const JobRunner::Dependencies& deps, const std::string& id,
                       std::string& storage_parent) {
  storage_parent.clear();
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, deps.models->GetById(id));
  if (!model.has_value() || model->record.state() != ModelRecord::DELETED) {
    return absl::OkStatus();
  }
  WDELTA_ASSIGN_OR_RETURN(const bool needed,
                          AnyWithPrefix(*deps.catalog, keys::EncodedOnPrefix(id)));
  if (needed) return absl::OkStatus();
  if (deps.reader->InUse(id)) {
    return MakeError(absl::StatusCode::kUnavailable, "MODEL_IN_USE",
                     absl::StrCat("model '", model->record.name(), "' is being fetched"));
  }
  const ModelRecord& record = model->record;
  Commit commit;
  commit.Require(keys::Model(id), model->version);
  commit.Write(keys::Model(id), Tombstone(record).SerializeAsString());
  if (!record.storage_parent_id().empty()) {
    commit.Erase(keys::EncodedOn(record.storage_parent_id(), id));
  }
  WDELTA_RETURN_IF_ERROR(deps.catalog->Apply(commit).status());
  if (!record.staging_id().empty()) {
    WDELTA_RETURN_IF_ERROR(deps.staging->Remove(record.staging_id()));
  }
  storage_parent = record.storage_parent_id();
  return absl::OkStatus();
}

// Frees the former stored forms of a model that lives.
absl::Status FreeFormer(const JobRunner::Dependencies& deps, const std::string& id) {
  return RetryOnConflict([&]() -> absl::Status {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, deps.models->GetById(id));
    if (!model.has_value() || model->record.state() == ModelRecord::DELETED ||
        model->record.retired_owners().empty()) {
      return absl::OkStatus();
    }
    if (deps.reader->FormerInUse(model->record)) {
      return MakeError(absl::StatusCode::kUnavailable, "MODEL_IN_USE",
                       absl::StrCat("a former stored form of model '", model->record.name(),
                                    "' is being fetched"));
    }
    for (const std::string& owner : model->record.retired_owners()) {
      WDELTA_RETURN_IF_ERROR(deps.claims->ReleaseAll(owner));
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

absl::Status RunReclaim(const JobRunner::Dependencies& deps, JobContext& context) {
  std::string id = context.job().record.model_id();
  while (!id.empty()) {
    std::string storage_parent;
    WDELTA_RETURN_IF_ERROR(FreeFormer(deps, id));
    WDELTA_RETURN_IF_ERROR(FreeBytes(deps, id, storage_parent));
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, deps.models->GetById(id));
    const bool freed = !model.has_value() || (model->record.state() == ModelRecord::DELETED &&
                                              model->record.delta_pieces_size() == 0);
    if (freed) {
      WDELTA_RETURN_IF_ERROR(deps.claims->ReleaseModel(id));
      WDELTA_RETURN_IF_ERROR(EraseTombstones(deps, id));
    }
    WDELTA_RETURN_IF_ERROR(context.Advance(0));
    id = storage_parent;
  }
  return absl::OkStatus();
}

}  // namespace wdelta
