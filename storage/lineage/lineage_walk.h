// Ancestors and descendants in pages. Pure functions; the graph must not change
// meanwhile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "storage/lineage/lineage_graph.h"

namespace wdelta {

enum class WalkDirection { kAncestors, kDescendants, kBoth };

// Where a walk goes on. Depths of models never change while they are there, for a new
// model is nobody's parent: a walk that goes on from here yields every model that was
// there at its beginning once, whatever was added in between.
struct WalkPosition {
  uint32_t depth = 0;
  bool is_descendant = false;
  std::string id;
};

struct WalkQuery {
  LineageGraph::Index start = 0;
  WalkDirection direction = WalkDirection::kAncestors;
  uint32_t max_depth = UINT32_MAX;    // edges from the start
  std::optional<WalkPosition> after;  // nullopt: from the start itself
  size_t limit = 0;                   // at least 1
};

struct WalkedNode {
  LineageGraph::Index index = 0;
  uint32_t depth = 0;          // edges on the shortest way from the start
  bool is_descendant = false;  // of the start, or the start of a walk to descendants alone
};

struct WalkPage {
  std::vector<WalkedNode> nodes;
  bool has_more = false;
};

// The nearest first, ancestors before descendants, then in order of id; each node once.
// Costs what is walked up to the page's end, not what lies behind it.
WalkPage Walk(const LineageGraph& graph, const WalkQuery& query);

}  // namespace wdelta
