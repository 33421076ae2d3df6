#include "storage/engine/merge/merges.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/merge/merge_plan.h"
#include "storage/engine/merge/merge_target.h"
#include "storage/engine/models/new_model.h"
#include "storage/engine/queue/merge_holds.h"
#include "storage/engine/records/merge_recipe.h"
#include "storage/engine/records/names.h"
#include "storage/engine/records/records.h"

namespace wdelta {
namespace {

using store::v1::JobRecord;
using store::v1::MergeRecipe;
using store::v1::ModelRecord;
using store::v1::ParentEdge;

absl::Status ValidateUserMetadata(const StringMap& metadata) {
  for (const auto& [key, value] : metadata) {
    if (!absl::StartsWith(key, kMergeMetadataPrefix)) continue;
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_METADATA",
                     absl::StrCat("metadata: keys that start with `", kMergeMetadataPrefix,
                                  "` are the server's, found `", key, "`"));
  }
  return absl::OkStatus();
}

ParentEdge EdgeTo(const Model& model) {
  ParentEdge edge;
  edge.set_model_id(model.record.id());
  edge.set_name(model.record.name());
  edge.set_relation(ParentEdge::MERGE);
  return edge;
}

void AddParents(const MergeRecipe& recipe, const std::vector<Model>& inputs, ModelRecord& model) {
  auto input = inputs.begin();
  if (HasBase(recipe.method())) {
    ParentEdge& edge = *model.add_parents();
    edge = EdgeTo(*input++);
    (*edge.mutable_metadata())["role"] = "base";
  }
  for (const MergeRecipe::Source& source : recipe.sources()) {
    ParentEdge& edge = *model.add_parents();
    edge = EdgeTo(*input++);
    (*edge.mutable_metadata())["role"] = "source";
    (*edge.mutable_metadata())["weight"] = NumberText(source.weight());
  }
}

}  // namespace

absl::Status Merges::ResolveModels(const MergeParams& params, std::vector<Model>& inputs,
                                   MergeRecipe& recipe) {
  if (HasBase(recipe.method()) == params.base.empty()) {
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_BASE",
                     absl::StrCat("base of a ", MethodName(recipe.method()), " merge: expected ",
                                  params.base.empty() ? "a model, found none"
                                                      : "none, found '" + params.base + "'"));
  }
  const auto resolve = [&](const std::string& reference,
                           absl::string_view role) -> absl::StatusOr<Model> {
    absl::StatusOr<Model> model = deps_.models->Resolve(reference);
    if (!model.ok()) return Annotate(model.status(), role);
    const bool is_twice = std::any_of(inputs.begin(), inputs.end(), [&](const Model& other) {
      return other.record.id() == model->record.id();
    });
    if (!is_twice) return model;
    return MakeError(absl::StatusCode::kInvalidArgument, "MODEL_TWICE",
                     absl::StrCat(role, ": model '", reference, "' is named twice"));
  };
  if (!params.base.empty()) {
    WDELTA_ASSIGN_OR_RETURN(Model base, resolve(params.base, "base"));
    recipe.set_base_id(base.record.id());
    recipe.set_base_name(base.record.name());
    inputs.push_back(std::move(base));
  }
  for (size_t i = 0; i < params.sources.size(); ++i) {
    WDELTA_ASSIGN_OR_RETURN(Model source, resolve(params.sources[i], "source"));
    MergeRecipe::Source& in_recipe = *recipe.mutable_sources(static_cast<int>(i));
    in_recipe.set_model_id(source.record.id());
    in_recipe.set_name(source.record.name());
    inputs.push_back(std::move(source));
  }
  return absl::OkStatus();
}

absl::StatusOr<ModelRecord> Merges::BuildModel(const MergeParams& params) {
  ModelRecord model;
  *model.mutable_merge() = params.recipe;
  MergeRecipe& recipe = *model.mutable_merge();
  for (int i = 0; i < recipe.sources_size(); ++i) {
    recipe.mutable_sources(i)->set_name(params.sources[i]);  // for errors
  }
  WDELTA_RETURN_IF_ERROR(ValidateRecipe(recipe));
  std::vector<Model> inputs;
  WDELTA_RETURN_IF_ERROR(ResolveModels(params, inputs, recipe));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<MergeModel> opened,
                          OpenMergeModels(recipe, *deps_.models, *deps_.reader));
  WDELTA_RETURN_IF_ERROR(PlanMerge(opened).status());

  model.set_id(deps_.ids->Next());
  model.set_name(params.name);
  model.set_state(ModelRecord::IMPORTING);
  AddParents(recipe, inputs, model);
  StringMap metadata = params.metadata;
  std::vector<std::string> digests;
  for (const Model& input : inputs) {
    digests.push_back(absl::BytesToHexString(input.record.digest()));
  }
  metadata.merge(RecipeMetadata(recipe, digests));
  WDELTA_RETURN_IF_ERROR(ValidateMetadata(metadata));
  model.mutable_metadata()->insert(metadata.begin(), metadata.end());
  model.mutable_labels()->insert(params.labels.begin(), params.labels.end());
  model.set_create_time_us(ToMicros(deps_.clock->Now()));
  const Checkpoint& pattern = opened[0].source->checkpoint();
  CountTensors(pattern.streams, model);
  uint64_t raw_bytes = 0;
  for (const CheckpointFile& file : pattern.files) raw_bytes += file.size_bytes;
  model.set_raw_bytes(raw_bytes);
  return model;
}

absl::StatusOr<std::optional<StartedMerge>> Merges::FindEarlier(const MergeParams& params) {
  WDELTA_ASSIGN_OR_RETURN(const std::optional<store::v1::RequestRecord> earlier,
                          FindRequest(*deps_.catalog, params.request_id, params.fingerprint));
  if (!earlier.has_value()) return std::optional<StartedMerge>();
  WDELTA_ASSIGN_OR_RETURN(Model model,
                          deps_.models->Resolve(absl::StrCat("id:", earlier->model_id())));
  std::string job_id = model.record.job_id();
  return std::optional<StartedMerge>({std::move(model), std::move(job_id)});
}

absl::StatusOr<StartedMerge> Merges::CommitModel(const MergeParams& params, ModelRecord model) {
  return RetryOnConflict([&]() -> absl::StatusOr<StartedMerge> {
    // The same request may have come twice at once.
    WDELTA_ASSIGN_OR_RETURN(std::optional<StartedMerge> earlier, FindEarlier(params));
    if (earlier.has_value()) return *std::move(earlier);
    WDELTA_RETURN_IF_ERROR(CheckNameFree(*deps_.catalog, params.name, params.new_version));
    Commit commit;
    model.set_job_id(deps_.jobs->AddTo(commit, JobRecord::MERGE, model));
    HoldMergeInputs(model, commit);
    if (!params.request_id.empty()) {
      store::v1::RequestRecord request;
      request.set_fingerprint(params.fingerprint.ToBytes());
      request.set_model_id(model.id());
      model.set_request_id(params.request_id);
      commit.Require(keys::Request(params.request_id), 0);
      commit.Write(keys::Request(params.request_id), request.SerializeAsString());
    }
    WDELTA_RETURN_IF_ERROR(AddNewModel(*deps_.catalog, *deps_.models, model, commit));
    WDELTA_ASSIGN_OR_RETURN(const uint64_t version, deps_.catalog->Apply(commit));
    return StartedMerge{{model, version}, model.job_id()};
  });
}

absl::StatusOr<StartedMerge> Merges::Start(const MergeParams& params) {
  WDELTA_ASSIGN_OR_RETURN(std::optional<StartedMerge> earlier, FindEarlier(params));
  if (earlier.has_value()) return *std::move(earlier);
  WDELTA_RETURN_IF_ERROR(ValidateName(params.name));
  WDELTA_RETURN_IF_ERROR(ValidateLabels(params.labels));
  WDELTA_RETURN_IF_ERROR(ValidateUserMetadata(params.metadata));
  WDELTA_RETURN_IF_ERROR(CheckNameFree(*deps_.catalog, params.name, params.new_version));
  WDELTA_ASSIGN_OR_RETURN(ModelRecord model, BuildModel(params));
  // The job takes it when it runs; here only what could not be stored is refused.
  WDELTA_RETURN_IF_ERROR(
      deps_.disk->Reserve(model.raw_bytes(), absl::StrCat("model '", params.name, "'")).status());
  return CommitModel(params, std::move(model));
}

}  // namespace wdelta
