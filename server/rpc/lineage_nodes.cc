#include "server/rpc/lineage_nodes.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/rpc/convert.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

absl::Status DamagedToken() {
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_PAGE_TOKEN", "page_token: damaged");
}

}  // namespace

FoundNode FoundAt(const LineageGraph& graph, LineageGraph::Index index) {
  const LineageGraph::Node& node = graph.node(index);
  return {node.id, node.name, !node.is_live};
}

v1::LineageNode ToLineageNode(const FoundNode& found, const std::optional<Model>& model) {
  v1::LineageNode node;
  if (!model.has_value()) {
    node.mutable_model()->set_id(found.id);
    node.mutable_model()->set_name(found.name);
    node.set_deleted(true);
    return node;
  }
  node.set_deleted(model->record.state() == store::v1::ModelRecord::DELETED);
  *node.mutable_model() =
      node.deleted() ? TombstoneToProto(*model) : ToProto(*model, FileList::kOmit);
  return node;
}

absl::StatusOr<v1::LineageNode> ToLineageNode(Models& models, const FoundNode& found) {
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, models.GetById(found.id));
  return ToLineageNode(found, model);
}

v1::Parent EdgeTo(const std::optional<Model>& child, absl::string_view parent_id) {
  if (!child.has_value()) return v1::Parent();
  const v1::Model declared = TombstoneToProto(*child);
  for (const v1::Parent& parent : declared.parents()) {
    if (parent.model() == IdReference(parent_id)) return parent;
  }
  return v1::Parent();
}

absl::StatusOr<LineageGraph::Index> IndexOf(const LineageGraph& graph, absl::string_view id) {
  const std::optional<LineageGraph::Index> index = graph.Find(id);
  if (index.has_value()) return *index;
  return MakeError(absl::StatusCode::kUnavailable, "LINEAGE_BEHIND",
                   absl::StrCat("model id:", id, " is not in the lineage yet, or no longer"));
}

absl::StatusOr<std::vector<std::string>> SplitPosition(const std::string& position, size_t count) {
  if (position.empty()) return std::vector<std::string>();
  std::vector<std::string> parts = absl::StrSplit(position, '/');
  if (parts.size() != count) return DamagedToken();
  return parts;
}

absl::StatusOr<uint32_t> NumberOfPosition(const std::string& part) {
  uint32_t number = 0;
  if (!absl::SimpleAtoi(part, &number)) return DamagedToken();
  return number;
}

}  // namespace wdelta
