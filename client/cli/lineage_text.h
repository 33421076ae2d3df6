// Lineages as text: a drawing for the terminal, and the languages of graph tools. Pure
// functions. Parents that are not among the nodes are left out.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/lineage/ascii_graph.h"
#include "wdelta/v1/lineage.pb.h"

namespace wdelta {

// `name@tag` by model id.
using TagsByModel = std::map<std::string, std::vector<std::string>>;

// FAILED_PRECONDITION when the nodes make a cycle.
absl::StatusOr<std::string> DrawLineage(const std::vector<v1::LineageNode>& nodes,
                                        const TagsByModel& tags, GraphGlyphs glyphs);

// A digraph of Graphviz, from parents to children.
std::string LineageDot(const std::vector<v1::LineageNode>& nodes, const TagsByModel& tags);

// A flowchart of Mermaid, from parents to children.
std::string LineageMermaid(const std::vector<v1::LineageNode>& nodes, const TagsByModel& tags);

}  // namespace wdelta
