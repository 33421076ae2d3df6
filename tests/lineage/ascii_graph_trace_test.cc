// Big drawings, read back: every edge of the lineage can be followed with the eye.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "storage/lineage/ascii_graph.h"
#include "storage/lineage/lineage.h"

namespace wdelta {
namespace {

using Edges = std::set<std::pair<std::string, std::string>>;  // child, parent

enum Arm : unsigned { kUp = 1, kDown = 2, kLeft = 4, kRight = 8 };

// A drawing as one would read it: cells of arms, and the nodes in them.
class Picture {
 public:
  explicit Picture(const std::vector<std::string>& lines) {
    for (const std::string& line : lines) AddLine(line);
  }

  size_t widest() const { return widest_; }

  Edges ReadEdges() const {
    Edges edges;
    for (const auto& [place, label] : nodes_) {
      const std::vector<std::string> parts = absl::StrSplit(label, "  <- ");
      for (const std::string& parent : ParentsAbove(place.first, place.second)) {
        edges.emplace(parts[0], parent);
      }
      if (parts.size() == 1) continue;
      for (const absl::string_view parent : absl::StrSplit(parts[1], ", ")) {
        edges.emplace(parts[0], std::string(parent));
      }
    }
    return edges;
  }

 private:
  void AddLine(const std::string& text) {
    static const std::map<std::string, unsigned> kArms = {{" ", 0},
                                                          {"│", kUp | kDown},
                                                          {"─", kLeft | kRight},
                                                          {"╵", kUp},
                                                          {"╯", kUp | kLeft},
                                                          {"╮", kDown | kLeft},
                                                          {"╰", kUp | kRight},
                                                          {"╭", kDown | kRight},
                                                          {"┤", kUp | kDown | kLeft},
                                                          {"├", kUp | kDown | kRight},
                                                          {"┴", kUp | kLeft | kRight},
                                                          {"┬", kDown | kLeft | kRight},
                                                          {"┼", kUp | kDown | kLeft | kRight}};
    std::vector<unsigned>& cells = cells_.emplace_back();
    absl::string_view rest = text;
    size_t node_column = std::string::npos;
    for (size_t position = 0; !rest.empty(); ++position) {
      if (absl::ConsumePrefix(&rest, "●")) {
        node_column = position;
        cells.push_back(kUp | kDown);
        continue;
      }
      bool is_known = false;
      for (const auto& [glyph, arms] : kArms) {
        if (!absl::ConsumePrefix(&rest, glyph)) continue;
        cells.push_back(arms);
        is_known = true;
        break;
      }
      if (is_known) continue;
      // The label.
      EXPECT_NE(node_column, std::string::npos) << text;
      nodes_[{cells_.size() - 1, node_column}] = std::string(rest);
      while (!cells.empty() && cells.back() == 0) cells.pop_back();
      rest = {};
    }
    widest_ = std::max(widest_, cells.size());
  }

  unsigned At(size_t line, size_t position) const {
    return position < cells_[line].size() ? cells_[line][position] : 0;
  }

  std::string OwnerAbove(size_t line, size_t position) const {
    while (line-- > 0) {
      const auto node = nodes_.find({line, position});
      if (node != nodes_.end())
        return std::string(absl::string_view(node->second).substr(0, node->second.find("  <- ")));
      if ((At(line, position) & kUp) == 0) break;
    }
    ADD_FAILURE() << "a line at " << line << ", " << position << " comes from nowhere";
    return "";
  }

  std::vector<std::string> ParentsAbove(size_t line, size_t position) const {
    if (line == 0 || (At(line - 1, position) & kDown) == 0) return {};
    // A leaf has no line below it; the drawing keeps what is no child of it apart.
    if (nodes_.contains({line - 1, position})) return {OwnerAbove(line, position)};
    std::vector<std::string> parents;
    const size_t joints = line - 1;
    const auto look = [&](size_t at) {
      if ((At(joints, at) & kUp) != 0) parents.push_back(OwnerAbove(joints, at));
    };
    look(position);
    const auto is_passed = [&](size_t at) { return At(joints, at) == (kUp | kDown); };
    if ((At(joints, position) & kRight) != 0) {
      for (size_t at = position + 2;; at += 2) {
        if (!is_passed(at)) look(at);
        if ((At(joints, at + 1) & kRight) == 0) break;
      }
    }
    if ((At(joints, position) & kLeft) != 0) {
      for (size_t at = position - 2;; at -= 2) {
        if (!is_passed(at)) look(at);
        if (at == 0 || (At(joints, at - 1) & kLeft) == 0) break;
      }
    }
    return parents;
  }

  std::vector<std::vector<unsigned>> cells_;
  std::map<std::pair<size_t, size_t>, std::string> nodes_;  // by line and position
  size_t widest_ = 0;
};

// 200 models: chains, fans, and merges of two or three that may be far apart.
std::vector<LineageNode> RandomLineage(uint32_t seed) {
  std::mt19937 random(seed);
  const auto below = [&](int bound) {
    return std::uniform_int_distribution<int>(0, bound - 1)(random);
  };
  std::vector<LineageNode> nodes = {{"n0", {}}};
  for (int i = 1; i < 200; ++i) {
    std::set<std::string> parents;
    const int kind = below(10);
    if (kind < 5) parents.insert(absl::StrCat("n", i - 1 - below(std::min(i, 4))));
    if (kind >= 5 && kind < 8) parents.insert(absl::StrCat("n", below(i)));
    if (kind == 8) {
      for (int k = 0; k < 2 + below(2); ++k) parents.insert(absl::StrCat("n", below(i)));
    }
    nodes.push_back({absl::StrCat("n", i), {parents.begin(), parents.end()}});
  }
  return nodes;
}

TEST(AsciiGraphTrace, EveryEdgeOf200ModelsIsInTheDrawing) {
  for (const size_t max_columns : {0, 5, 12}) {
    for (uint32_t seed = 1; seed <= 40; ++seed) {
      SCOPED_TRACE(absl::StrCat("seed ", seed, ", columns ", max_columns));
      const std::vector<LineageNode> lineage = RandomLineage(seed);
      const auto order = TopologicalOrder(lineage);
      ASSERT_TRUE(order.ok()) << order.status();
      std::vector<GraphNode> nodes;
      Edges expected;
      for (const size_t i : *order) {
        const LineageNode& node = lineage[i];
        nodes.push_back({.id = node.id, .label = node.id, .parents = node.parents});
        for (const std::string& parent : node.parents) expected.emplace(node.id, parent);
      }
      const auto lines = DrawGraph(nodes, GraphGlyphs::kUnicode, max_columns);
      ASSERT_TRUE(lines.ok()) << lines.status();
      const Picture picture(*lines);
      EXPECT_EQ(picture.ReadEdges(), expected) << absl::StrJoin(*lines, "\n");
      EXPECT_LE(lines->size(), 3 * nodes.size());
      if (max_columns > 0) {
        EXPECT_LE(picture.widest(), 2 * max_columns);
      }
      if (HasFailure()) return;
    }
  }
}

TEST(AsciiGraphTrace, AColumnEndsWhereNoneIsFree) {
  const std::vector<GraphNode> nodes = {
      {.id = "a", .label = "a", .parents = {}},
      {.id = "b", .label = "b", .parents = {}},
      {.id = "c", .label = "c", .parents = {}},
      {.id = "bc", .label = "bc", .parents = {"b", "c"}},
      {.id = "abc", .label = "abc", .parents = {"a", "bc"}},
  };
  const auto draw = [&](GraphGlyphs glyphs) {
    return absl::StrCat("\n", absl::StrJoin(DrawGraph(nodes, glyphs, 2).value(), "\n"), "\n");
  };
  EXPECT_EQ(draw(GraphGlyphs::kUnicode), R"(
● a
│ ● b
╵ │
● │ c
├─╯
● bc
● abc  <- a
)");
  EXPECT_EQ(draw(GraphGlyphs::kAscii), R"(
* a
| * b
' |
* | c
+-'
* bc
* abc  <- a
)");
}

}  // namespace
}  // namespace wdelta
