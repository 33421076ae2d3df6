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
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace wdelta {

struct GraphNode {
  std::string id;
  std::string label;                 // one line, printed as it is
  std::vector<std::string> parents;  // those that are no node are not drawn
};

enum class GraphGlyphs { kAscii, kUnicode };

// Lines without line ends. `nodes` in topological order, parents first.
// INVALID_ARGUMENT for an id given twice and for a parent behind its child.
absl::StatusOr<std::vector<std::string>> DrawGraph(const std::vector<GraphNode>& nodes,
                                                   GraphGlyphs glyphs);

}  // namespace wdelta
