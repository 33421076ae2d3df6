// What lineage calls have in common: nodes of the lineage as messages, and where their
// lists go on. Any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/engine/model_store.h"
#include "storage/lineage/lineage_graph.h"
#include "wdelta/v1/lineage.pb.h"

namespace wdelta {

// A node as it was found, which outlives the view of the graph.
struct FoundNode {
  std::string id;
  std::string name;
  bool is_deleted = false;
};
FoundNode FoundAt(const LineageGraph& graph, LineageGraph::Index index);

// With what else there is to tell of it: `model` is its record; nullopt: it is gone.
// Depth and direction stay unset.
v1::LineageNode ToLineageNode(const FoundNode& found, const std::optional<Model>& model);
// Reads the record first.
absl::StatusOr<v1::LineageNode> ToLineageNode(Models& models, const FoundNode& found);

// The edge to a parent as the child declared it; empty when the child's record is gone.
v1::Parent EdgeTo(const std::optional<Model>& child, absl::string_view parent_id);

// The visible node of a live model. UNAVAILABLE (`LINEAGE_BEHIND`) while the catalog
// has not told of it.
absl::StatusOr<LineageGraph::Index> IndexOf(const LineageGraph& graph, absl::string_view id);

// Positions are parts, none with a `/`. `count` is that of a position that is not
// empty; INVALID_ARGUMENT (`BAD_PAGE_TOKEN`) for another.
absl::StatusOr<std::vector<std::string>> SplitPosition(const std::string& position, size_t count);
// INVALID_ARGUMENT (`BAD_PAGE_TOKEN`).
absl::StatusOr<uint32_t> NumberOfPosition(const std::string& part);

}  // namespace wdelta
