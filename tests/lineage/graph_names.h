// Graphs by name, for tests.
#pragma once

#include <string>
#include <vector>

#include "storage/lineage/lineage_graph.h"

namespace wdelta::testing {

// A model whose id is its name.
inline LineageGraph::Model Named(const std::string& id,
                                 const std::vector<std::string>& parents = {},
                                 bool is_deleted = false) {
  LineageGraph::Model model{id, id, {}, is_deleted};
  for (const std::string& parent : parents) model.parents.push_back({parent, parent});
  return model;
}

inline std::vector<std::string> IdsOf(const LineageGraph& graph,
                                      const std::vector<LineageGraph::Index>& nodes) {
  std::vector<std::string> ids;
  for (const LineageGraph::Index index : nodes) ids.push_back(graph.node(index).id);
  return ids;
}

}  // namespace wdelta::testing
