// Shortest ways between two models. Pure functions; the graph must not change
// meanwhile. The same graph gives the same way.
#pragma once

#include <cstdint>
#include <vector>

#include "storage/lineage/lineage_graph.h"

namespace wdelta {

enum class PathEdges {
  kAncestry,  // one of the two descends from the other: only up, or only down
  kAny,       // up and down as it comes
};

// The models from `from` to `to`, both included, each next to the one before; empty:
// there is no way. Only models with a rank below `end_rank` are passed.
std::vector<LineageGraph::Index> ShortestPath(const LineageGraph& graph, LineageGraph::Index from,
                                              LineageGraph::Index to, PathEdges edges,
                                              uint64_t end_rank = UINT64_MAX);

}  // namespace wdelta
