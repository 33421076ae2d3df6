#include "storage/engine/queue/merge_holds.h"

#include <optional>

#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/records/records.h"

namespace wdelta {

using store::v1::MergeRecipe;
using store::v1::ModelRecord;

std::vector<std::string> MergeModelIds(const MergeRecipe& recipe) {
  std::vector<std::string> ids;
  if (!recipe.base_id().empty()) ids.push_back(recipe.base_id());
  for (const MergeRecipe::Source& source : recipe.sources()) ids.push_back(source.model_id());
  return ids;
}

void HoldMergeInputs(const ModelRecord& model, Commit& commit) {
  for (const std::string& id : MergeModelIds(model.merge())) {
    commit.Write(keys::NeededBy(id, model.id()), "");
  }
}

absl::Status ReleaseMergeInputs(Catalog& catalog, JobQueue& jobs, const ModelRecord& model,
                                Commit& commit) {
  for (const std::string& id : MergeModelIds(model.merge())) {
    const std::string hold = keys::NeededBy(id, model.id());
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Record> held, catalog.Get(hold));
    if (!held.has_value()) continue;
    commit.Erase(hold);
    WDELTA_ASSIGN_OR_RETURN(const auto input, ReadRecord<ModelRecord>(catalog, keys::Model(id)));
    if (!input.has_value()) continue;
    // One that is deleted a moment later is reclaimed by its own deletion, which then sees
    // no hold.
    commit.Require(keys::Model(id), input->version);
    if (input->message.state() == ModelRecord::DELETED) {
      jobs.AddTo(commit, store::v1::JobRecord::RECLAIM, input->message);
    }
  }
  return absl::OkStatus();
}

}  // namespace wdelta
