// Walks over the graph of models and their parents.
//
// The graph itself is elsewhere: it is asked for through a NeighbourLookup, one id
// at a time, in the calling thread. No state is kept between calls. Time and memory
// grow with the part of the graph that is walked; nothing recurses.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace wdelta {

// Ids next to `id`: its parents, or its children. Its error ends the walk and is
// the walk's result.
using NeighbourLookup =
    absl::FunctionRef<absl::StatusOr<std::vector<std::string>>(const std::string& id)>;

struct LineageStep {
  std::string id;
  uint32_t depth = 0;  // edges on the shortest way from a start

  friend bool operator==(const LineageStep&, const LineageStep&) = default;
};

struct LineageWalk {
  // By depth, then in order of discovery; each id once.
  std::vector<LineageStep> steps;
  // True when `max_visits` left something out.
  bool is_cut = false;
};

// Breadth first from `starts` (depth 0), over edges up to `max_depth` away,
// at most `max_visits` ids. Ids at `max_depth` are not looked up.
absl::StatusOr<LineageWalk> Traverse(const std::vector<std::string>& starts,
                                     NeighbourLookup neighbours, uint32_t max_depth,
                                     uint64_t max_visits);

struct LineageNode {
  std::string id;
  std::vector<std::string> parents;  // those that are no node are passed over
};

// Indices of `nodes`, every parent before its children. A child follows its last
// parent as closely as it can, children of one parent in order of `nodes`, so that
// branches stay together when drawn. INVALID_ARGUMENT for an id given twice;
// FAILED_PRECONDITION naming a node of a cycle.
absl::StatusOr<std::vector<size_t>> TopologicalOrder(const std::vector<LineageNode>& nodes);

}  // namespace wdelta
