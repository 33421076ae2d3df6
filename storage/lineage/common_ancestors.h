// What models have in common. Pure functions; the graph must not change meanwhile.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "storage/lineage/lineage_graph.h"

namespace wdelta {

struct CommonAncestor {
  LineageGraph::Index index = 0;
  std::vector<uint32_t> depths;  // edges from each of the models
};

// The lowest common ancestors: those that no other common ancestor descends from. A
// model counts as its own ancestor. The nearest first, by the sum of depths, then in
// order of id: an order that stays, for ancestors of a model are never added.
std::vector<CommonAncestor> LowestCommonAncestors(const LineageGraph& graph,
                                                  absl::Span<const LineageGraph::Index> models);

}  // namespace wdelta
