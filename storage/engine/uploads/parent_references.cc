#include "storage/engine/uploads/parent_references.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/records/names.h"

namespace wdelta {

using store::v1::ParentEdge;

absl::StatusOr<std::vector<ParentEdge>> ResolveParents(Models& models,
                                                       const std::vector<ParentReference>& parents,
                                                       const NameCheck& check_name) {
  if (parents.size() > limits::kMaxParents) {
    return MakeError(absl::StatusCode::kInvalidArgument, "TOO_MANY_PARENTS",
                     absl::StrCat("parents: expected at most ", limits::kMaxParents, ", found ",
                                  parents.size()));
  }
  std::vector<ParentEdge> edges;
  for (const ParentReference& parent : parents) {
    WDELTA_RETURN_IF_ERROR(ValidateMetadata(parent.metadata));
    const absl::StatusOr<Model> model = models.Resolve(parent.reference);
    if (!model.ok()) return Annotate(model.status(), "parent");
    const absl::Status named = CheckFound(check_name, parent.reference, model->record.name());
    if (!named.ok()) return Annotate(named, "parent");
    for (const ParentEdge& edge : edges) {
      if (edge.model_id() != model->record.id()) continue;
      return MakeError(absl::StatusCode::kInvalidArgument, "PARENT_TWICE",
                       absl::StrCat("parent '", parent.reference, "' is named twice"));
    }
    ParentEdge edge;
    edge.set_model_id(model->record.id());
    edge.set_name(model->record.name());
    edge.set_relation(parent.relation);
    if (parent.relation == ParentEdge::RELATION_UNSPECIFIED) {
      edge.set_relation(parents.size() == 1 ? ParentEdge::FINE_TUNE : ParentEdge::MERGE);
    }
    edge.mutable_metadata()->insert(parent.metadata.begin(), parent.metadata.end());
    edges.push_back(std::move(edge));
  }
  return edges;
}

absl::StatusOr<store::v1::StorageLimit> LimitToNamed(
    Models& models, const google::protobuf::RepeatedPtrField<ParentEdge>& parents,
    const NameCheck& check_name) {
  store::v1::StorageLimit limit;
  for (const ParentEdge& edge : parents) {
    std::string id = edge.model_id();
    for (uint32_t i = 0; i <= limits::kMaxStorageDepth && !id.empty(); ++i) {
      WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, models.GetById(id));
      if (!model.has_value()) break;
      if (MayName(check_name, model->record.name())) limit.add_model_ids(id);
      id = model->record.storage_parent_id();
    }
  }
  return limit;
}

}  // namespace wdelta
