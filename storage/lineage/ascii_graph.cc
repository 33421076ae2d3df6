#include "storage/lineage/ascii_graph.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
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
  if (arms == kUp) return glyphs == GraphGlyphs::kUnicode ? "╵" : "'";  // a column ends
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
  // `children` by node, in the order in which they will be added.
  Drawing(std::vector<std::vector<size_t>> children, GraphGlyphs glyphs, size_t max_columns)
      : children_(std::move(children)),
        drawn_children_(children_.size(), 0),
        glyphs_(glyphs),
        max_columns_(max_columns) {}

  // `parents` are indices of nodes drawn before, each once; the result are those to which
  // no line leads.
  std::vector<size_t> Add(size_t node, std::vector<size_t> parents, absl::string_view label) {
    std::vector<size_t> unseen;
    std::erase_if(parents, [&](size_t parent) {
      if (std::find(columns_.begin(), columns_.end(), parent) != columns_.end()) return false;
      ++drawn_children_[parent];
      unseen.push_back(parent);
      return true;
    });
    Placement placement = Place(parents);
    if (placement.column == columns_.size()) placement.column = NewColumn(parents);
    if (parents.empty() && placement.column == last_column_) AppendLine(JointLine({}));
    const bool is_straight = placement.parent_columns.size() == 1 &&
                             placement.parent_columns.front() == placement.column;
    if (!parents.empty() && !is_straight) AppendLine(JointLine(Joints(placement)));
    for (const size_t column : placement.closing_columns) columns_[column] = kNone;
    AppendLine(absl::StrCat(NodeLine(placement.column), " ", label));
    columns_[placement.column] = HasUndrawnChildren(node) ? node : kNone;
    last_column_ = placement.column;
    while (!columns_.empty() && columns_.back() == kNone) columns_.pop_back();
    return unseen;
  }

  // To the line of the node that was added last.
  void AppendToLine(absl::string_view text) { absl::StrAppend(&lines_.back(), text); }

  std::vector<std::string> TakeLines() { return std::move(lines_); }

 private:
  bool HasUndrawnChildren(size_t node) const {
    return drawn_children_[node] < children_[node].size();
  }

  // Behind the others, or one that ends for it.
  size_t NewColumn(const std::vector<size_t>& parents) {
    size_t ending = kNone;
    for (size_t i = 0; max_columns_ > 0 && columns_.size() >= max_columns_ && i < columns_.size();
         ++i) {
      const bool is_needed =
          std::find(parents.begin(), parents.end(), columns_[i]) != parents.end();
      if (!is_needed && (ending == kNone || NextChild(i) > NextChild(ending))) ending = i;
    }
    if (ending == kNone) {
      columns_.push_back(kNone);
      return columns_.size() - 1;
    }
    std::vector<unsigned> cells = Verticals();
    cells[ending] = kUp;
    AppendLine(JointLine(std::move(cells)));
    columns_[ending] = kNone;
    return ending;
  }

  // Of the owner of a column.
  size_t NextChild(size_t column) const {
    const size_t owner = columns_[column];
    return children_[owner][drawn_children_[owner]];
  }

  // Counts the node off its parents.
  Placement Place(const std::vector<size_t>& parents) {
    Placement placement;
    for (const size_t parent : parents) {
      ++drawn_children_[parent];
      const auto it = std::find(columns_.begin(), columns_.end(), parent);
      placement.parent_columns.push_back(static_cast<size_t>(it - columns_.begin()));
      if (!HasUndrawnChildren(parent)) placement.closing_columns.push_back(it - columns_.begin());
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

  const std::vector<std::vector<size_t>> children_;  // by node
  std::vector<size_t> drawn_children_;               // by node
  const GraphGlyphs glyphs_;
  const size_t max_columns_;
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
                                                   GraphGlyphs glyphs, size_t max_columns) {
  const auto parents = ResolveParents(nodes);
  if (!parents.ok()) return parents.status();
  std::vector<std::vector<size_t>> children(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    for (const size_t parent : (*parents)[i]) children[parent].push_back(i);
  }
  Drawing drawing(std::move(children), glyphs, max_columns);
  for (size_t i = 0; i < nodes.size(); ++i) {
    std::vector<std::string> unseen;
    for (const size_t parent : drawing.Add(i, (*parents)[i], nodes[i].label)) {
      unseen.push_back(nodes[parent].name.empty() ? nodes[parent].id : nodes[parent].name);
    }
    if (!unseen.empty()) drawing.AppendToLine(absl::StrCat("  <- ", absl::StrJoin(unseen, ", ")));
  }
  return drawing.TakeLines();
}

}  // namespace wdelta
