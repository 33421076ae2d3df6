#include "storage/lineage/ascii_graph.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace wdelta {
namespace {

constexpr size_t kNone = static_cast<size_t>(-1);

// A cell's arms. kOver marks a horizontal line that only passes beneath.
enum Arm : unsigned { kUp = 1, kDown = 2, kLeft = 4, kRight = 8, kOver = 16 };

absl::string_view JointGlyph(unsigned arms, GraphGlyphs glyphs) {
  constexpr absl::string_view kAscii[16] = {" ", "|", "|", "|", "-", "'", ".", "+",
                                            "-", "'", ".", "+", "-", "+", "+", "+"};
  constexpr absl::string_view kUnicode[16] = {" ", "│", "│", "│", "─", "╯", "╮", "┤",
                                              "─", "╰", "╭", "├", "─", "┴", "┬", "┼"};
  const bool passes_over = (arms & kOver) != 0 && (arms & (kUp | kDown)) != 0;
  const unsigned shown = passes_over ? (arms & (kUp | kDown)) : (arms & 15u);
  return glyphs == GraphGlyphs::kUnicode ? kUnicode[shown] : kAscii[shown];
}

// Where a node goes, and the columns of its parents.
struct Placement {
  size_t column = 0;
  std::vector<size_t> parent_columns;   // ascending
  std::vector<size_t> closing_columns;  // of them, those that no other child needs
};

class Drawing {
 public:
  Drawing(std::vector<size_t> pending_children, GraphGlyphs glyphs)
      : pending_(std::move(pending_children)), glyphs_(glyphs) {}

  // `parents` are indices of nodes drawn before, each once.
  void Add(size_t node, const std::vector<size_t>& parents, absl::string_view label) {
    const Placement placement = Place(parents);
    if (placement.column == columns_.size()) columns_.push_back(kNone);
    if (parents.empty() && placement.column == last_column_) AppendLine(JointLine({}));
    const bool is_straight = placement.parent_columns.size() == 1 &&
                             placement.parent_columns.front() == placement.column;
    if (!parents.empty() && !is_straight) AppendLine(JointLine(Joints(placement)));
    for (const size_t column : placement.closing_columns) columns_[column] = kNone;
    AppendLine(absl::StrCat(NodeLine(placement.column), " ", label));
    columns_[placement.column] = pending_[node] > 0 ? node : kNone;
    last_column_ = placement.column;
    while (!columns_.empty() && columns_.back() == kNone) columns_.pop_back();
  }

  std::vector<std::string> TakeLines() { return std::move(lines_); }

 private:
  // Counts the node off its parents.
  Placement Place(const std::vector<size_t>& parents) {
    Placement placement;
    for (const size_t parent : parents) {
      --pending_[parent];
      const auto it = std::find(columns_.begin(), columns_.end(), parent);
      placement.parent_columns.push_back(static_cast<size_t>(it - columns_.begin()));
      if (pending_[parent] == 0) placement.closing_columns.push_back(it - columns_.begin());
    }
    std::sort(placement.parent_columns.begin(), placement.parent_columns.end());
    std::sort(placement.closing_columns.begin(), placement.closing_columns.end());
    const auto free = std::find(columns_.begin(), columns_.end(), kNone);
    placement.column = placement.closing_columns.empty()
                           ? static_cast<size_t>(free - columns_.begin())
                           : placement.closing_columns.front();
    return placement;
  }

  // The cells between the parents' line and the node's.
  std::vector<unsigned> Joints(const Placement& placement) const {
    std::vector<unsigned> cells(columns_.size(), 0);
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (columns_[i] != kNone) cells[i] = kUp | kDown;
    }
    for (const size_t column : placement.closing_columns) cells[column] = kUp;
    cells[placement.column] |= kDown;
    std::vector<bool> is_joint(columns_.size(), false);
    is_joint[placement.column] = true;
    for (const size_t column : placement.parent_columns) {
      is_joint[column] = true;
      const auto [left, right] = std::minmax(column, placement.column);
      for (size_t i = left; i < right; ++i) {
        cells[i] |= kRight;
        cells[i + 1] |= kLeft;
      }
    }
    for (size_t i = 0; i < cells.size(); ++i) {
      if (!is_joint[i]) cells[i] |= kOver;
    }
    return cells;
  }

  // Without cells: the columns alone.
  std::string JointLine(std::vector<unsigned> cells) const {
    if (cells.empty()) cells = Verticals();
    std::string line;
    for (const unsigned arms : cells) {
      absl::StrAppend(&line, JointGlyph(arms, glyphs_),
                      (arms & kRight) != 0 ? JointGlyph(kLeft | kRight, glyphs_) : " ");
    }
    return line;
  }

  std::string NodeLine(size_t node_column) const {
    const std::vector<unsigned> cells = Verticals();
    std::string line;
    for (size_t i = 0; i < cells.size(); ++i) {
      const absl::string_view node = glyphs_ == GraphGlyphs::kUnicode ? "●" : "*";
      absl::StrAppend(&line, i == node_column ? node : JointGlyph(cells[i], glyphs_), " ");
    }
    return std::string(absl::StripTrailingAsciiWhitespace(line));
  }

  std::vector<unsigned> Verticals() const {
    std::vector<unsigned> cells;
    for (const size_t owner : columns_) cells.push_back(owner == kNone ? 0 : kUp | kDown);
    return cells;
  }

  void AppendLine(absl::string_view line) {
    lines_.emplace_back(absl::StripTrailingAsciiWhitespace(line));
  }

  std::vector<size_t> pending_;  // by node: children still to be drawn
  const GraphGlyphs glyphs_;
  std::vector<size_t> columns_;  // node that each column belongs to, or kNone
  size_t last_column_ = kNone;   // of the node drawn last
  std::vector<std::string> lines_;
};

// The nodes' parents as indices, each once.
absl::StatusOr<std::vector<std::vector<size_t>>> ResolveParents(
    const std::vector<GraphNode>& nodes) {
  absl::flat_hash_map<absl::string_view, size_t> index_of;
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (index_of.emplace(nodes[i].id, i).second) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("node ", nodes[i].id, ": expected once, found twice"));
  }
  std::vector<std::vector<size_t>> parents(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    for (const std::string& id : nodes[i].parents) {
      const auto it = index_of.find(id);
      if (it == index_of.end()) continue;
      if (it->second >= i) {
        return absl::InvalidArgumentError(absl::StrCat(
            "node ", nodes[i].id, ": expected its parent ", id, " before it, found it behind"));
      }
      parents[i].push_back(it->second);
    }
    std::sort(parents[i].begin(), parents[i].end());
    parents[i].erase(std::unique(parents[i].begin(), parents[i].end()), parents[i].end());
  }
  return parents;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> DrawGraph(const std::vector<GraphNode>& nodes,
                                                   GraphGlyphs glyphs) {
  const auto parents = ResolveParents(nodes);
  if (!parents.ok()) return parents.status();
  std::vector<size_t> pending_children(nodes.size(), 0);
  for (const std::vector<size_t>& of_node : *parents) {
    for (const size_t parent : of_node) ++pending_children[parent];
  }
  Drawing drawing(std::move(pending_children), glyphs);
  for (size_t i = 0; i < nodes.size(); ++i) drawing.Add(i, (*parents)[i], nodes[i].label);
  return drawing.TakeLines();
}

}  // namespace wdelta
