#include "client/cli/lineage_text.h"

#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "client/cli/json_output.h"
#include "client/cli/relation_words.h"
#include "client/cli/text.h"
#include "storage/base/status_macros.h"
#include "storage/lineage/lineage.h"

namespace wdelta {
namespace {

// Half the width of a terminal of 80 characters.
constexpr size_t kMaxColumns = 20;

std::string ParentId(const v1::Parent& parent) {
  return std::string(absl::StripPrefix(parent.model(), "id:"));
}

// ` [a@prod, b@best]`, or nothing.
std::string TagsText(const v1::Model& model, const TagsByModel& tags, absl::string_view before) {
  const auto found = tags.find(model.id());
  if (found == tags.end()) return "";
  return absl::StrCat(before, "[", absl::StrJoin(found->second, ", "), "]");
}

std::string LabelOf(const v1::LineageNode& node, const TagsByModel& tags) {
  const v1::Model& model = node.model();
  std::string label = absl::StrCat(model.name(), "  ", ShortId(model.id()));
  if (node.deleted()) return Printable(absl::StrCat(label, "  (deleted)"));
  absl::StrAppend(&label, TagsText(model, tags, "  "), "  ", HumanBytes(model.raw_bytes()));
  if (model.state() == v1::Model::READY) {
    absl::StrAppend(&label, " -> ", HumanBytes(model.stored_bytes()), " (",
                    HumanRatio(model.raw_bytes(), model.stored_bytes()), ")");
  } else {
    absl::StrAppend(&label, "  ", StateWord(model.state()));
  }
  return Printable(label);
}

// Of graph tools: one line each.
std::vector<std::string> BoxLines(const v1::LineageNode& node, const TagsByModel& tags) {
  std::vector<std::string> lines = {Printable(node.model().name()),
                                    Printable(ShortId(node.model().id()))};
  if (node.deleted()) lines.push_back("(deleted)");
  const std::string text = TagsText(node.model(), tags, "");
  if (!text.empty()) lines.push_back(Printable(text));
  return lines;
}

// Positions in `nodes` by id.
absl::flat_hash_map<std::string, size_t> PositionsOf(const std::vector<v1::LineageNode>& nodes) {
  absl::flat_hash_map<std::string, size_t> positions;
  for (size_t i = 0; i < nodes.size(); ++i) positions.emplace(nodes[i].model().id(), i);
  return positions;
}

// Calls `visit(parent's position, child's position, edge)`.
template <typename Visit>
void ForEachEdge(const std::vector<v1::LineageNode>& nodes, Visit visit) {
  const auto positions = PositionsOf(nodes);
  for (size_t i = 0; i < nodes.size(); ++i) {
    for (const v1::Parent& parent : nodes[i].model().parents()) {
      const auto found = positions.find(ParentId(parent));
      if (found != positions.end()) visit(found->second, i, parent);
    }
  }
}

std::string DotEscaped(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"\"", "\\\""}});
}

std::string MermaidEscaped(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"#", "#35;"}, {"\"", "#quot;"}, {"<", "#lt;"}, {">", "#gt;"}});
}

}  // namespace

absl::StatusOr<std::string> DrawLineage(const std::vector<v1::LineageNode>& nodes,
                                        const TagsByModel& tags, GraphGlyphs glyphs) {
  std::vector<GraphNode> unordered;
  std::vector<LineageNode> edges;
  for (const v1::LineageNode& node : nodes) {
    std::vector<std::string> parents;
    for (const v1::Parent& parent : node.model().parents()) parents.push_back(ParentId(parent));
    edges.push_back({node.model().id(), parents});
    unordered.push_back(
        {.id = node.model().id(),
         .label = LabelOf(node, tags),
         .parents = std::move(parents),
         .name = Printable(absl::StrCat(node.model().name(), " ", ShortId(node.model().id())))});
  }
  WDELTA_ASSIGN_OR_RETURN(const std::vector<size_t> order, TopologicalOrder(edges));
  std::vector<GraphNode> ordered;
  for (const size_t index : order) ordered.push_back(std::move(unordered[index]));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> lines,
                          DrawGraph(ordered, glyphs, kMaxColumns));
  return absl::StrJoin(lines, "", [](std::string* out, const std::string& line) {
    absl::StrAppend(out, line, "\n");
  });
}

std::string LineageDot(const std::vector<v1::LineageNode>& nodes, const TagsByModel& tags) {
  std::string text = "digraph lineage {\n  node [shape=box];\n";
  for (size_t i = 0; i < nodes.size(); ++i) {
    std::vector<std::string> lines = BoxLines(nodes[i], tags);
    for (std::string& line : lines) line = DotEscaped(line);
    absl::StrAppend(&text, "  m", i, " [label=\"", absl::StrJoin(lines, "\\n"), "\"",
                    nodes[i].deleted() ? ", style=dashed" : "", "];\n");
  }
  ForEachEdge(nodes, [&](size_t parent, size_t child, const v1::Parent& edge) {
    absl::StrAppend(&text, "  m", parent, " -> m", child, " [label=\"",
                    RelationWord(edge.relation()), "\"];\n");
  });
  return absl::StrCat(text, "}\n");
}

std::string LineageMermaid(const std::vector<v1::LineageNode>& nodes, const TagsByModel& tags) {
  std::string text = "flowchart TD\n";
  for (size_t i = 0; i < nodes.size(); ++i) {
    std::vector<std::string> lines = BoxLines(nodes[i], tags);
    for (std::string& line : lines) line = MermaidEscaped(line);
    absl::StrAppend(&text, "  m", i, "[\"", absl::StrJoin(lines, "<br/>"), "\"]\n");
  }
  ForEachEdge(nodes, [&](size_t parent, size_t child, const v1::Parent& edge) {
    absl::StrAppend(&text, "  m", parent, " -->|", RelationWord(edge.relation()), "| m", child,
                    "\n");
  });
  return text;
}

}  // namespace wdelta
