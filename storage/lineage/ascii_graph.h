// Draws a lineage for a terminal, roots at the top, one node a line:
//
//   ● base
//   ├─╮
//   │ ● ft-a
//   ● ft-b
//
// A node whose children are not all drawn keeps a column; a child continues the
// column of a parent that it is the last child of, or takes the leftmost free one.
// A vertical line that meets a horizontal one without a joint passes over it.
//
// Where columns are bounded and none is free, the column of the node whose next child is
// the farthest ends (`╵`, or `'` without a line beside it). The edges that it would have
// shown are told by name behind the children's labels: `child  <- that-node`.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace wdelta {

struct GraphNode {
  std::string id;
  std::string label;                 // one line, printed as it is
  std::vector<std::string> parents;  // those that are no node are not drawn
  std::string name = {};             // what children call it; empty: its id
};

enum class GraphGlyphs { kAscii, kUnicode };

// Lines without line ends. `nodes` in topological order, parents first. At most
// `max_columns` columns (0: no bound), and one more than a node has parents.
// INVALID_ARGUMENT for an id given twice and for a parent behind its child.
absl::StatusOr<std::vector<std::string>> DrawGraph(const std::vector<GraphNode>& nodes,
                                                   GraphGlyphs glyphs, size_t max_columns = 0);

}  // namespace wdelta
