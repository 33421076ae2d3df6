#include "storage/lineage/ascii_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "storage/lineage/lineage.h"

namespace wdelta {
namespace {

using testing::HasSubstr;

GraphNode Node(const std::string& id, std::vector<std::string> parents = {}) {
  return {.id = id, .label = id, .parents = std::move(parents)};
}

// The drawing with a line end before each line, to be compared with a raw string.
std::string Draw(const std::vector<GraphNode>& nodes, GraphGlyphs glyphs) {
  const auto lines = DrawGraph(nodes, glyphs);
  if (!lines.ok()) return lines.status().ToString();
  return absl::StrCat("\n", absl::StrJoin(*lines, "\n"), "\n");
}

std::vector<GraphNode> DemoGraph() {
  return {Node("base"),
          Node("ft-kjv", {"base"}),
          Node("ft-kjv-2", {"ft-kjv"}),
          Node("ft-perl", {"base"}),
          Node("merge-kjv-perl", {"ft-kjv", "ft-perl"}),
          Node("ft-grown-vocab", {"ft-perl"}),
          Node("ft-perl-sharded", {"base"})};
}

TEST(AsciiGraphTest, Empty) { EXPECT_EQ(Draw({}, GraphGlyphs::kUnicode), "\n\n"); }

TEST(AsciiGraphTest, Single) {
  EXPECT_EQ(Draw({Node("base")}, GraphGlyphs::kUnicode), "\n● base\n");
  EXPECT_EQ(Draw({Node("base")}, GraphGlyphs::kAscii), "\n* base\n");
}

TEST(AsciiGraphTest, Chain) {
  const std::vector<GraphNode> nodes = {Node("a"), Node("b", {"a"}), Node("c", {"b"})};
  EXPECT_EQ(Draw(nodes, GraphGlyphs::kUnicode), R"(
● a
● b
● c
)");
}

TEST(AsciiGraphTest, FanOfThree) {
  const std::vector<GraphNode> nodes = {Node("base"), Node("a", {"base"}), Node("b", {"base"}),
                                        Node("c", {"base"})};
  EXPECT_EQ(Draw(nodes, GraphGlyphs::kUnicode), R"(
● base
├─╮
│ ● a
├─╮
│ ● b
● c
)");
  EXPECT_EQ(Draw(nodes, GraphGlyphs::kAscii), R"(
* base
+-.
| * a
+-.
| * b
* c
)");
}

TEST(AsciiGraphTest, MergeOfTwoBranches) {
  const std::vector<GraphNode> nodes = {Node("base"), Node("a", {"base"}), Node("b", {"base"}),
                                        Node("merge", {"a", "b"})};
  EXPECT_EQ(Draw(nodes, GraphGlyphs::kUnicode), R"(
● base
├─╮
│ ● a
● │ b
├─╯
● merge
)");
  EXPECT_EQ(Draw(nodes, GraphGlyphs::kAscii), R"(
* base
+-.
| * a
* | b
+-'
* merge
)");
}

TEST(AsciiGraphTest, MergeOfTwoRoots) {
  const std::vector<GraphNode> nodes = {Node("a"), Node("b"), Node("merge", {"a", "b"})};
  EXPECT_EQ(Draw(nodes, GraphGlyphs::kUnicode), R"(
● a
│ ● b
├─╯
● merge
)");
}

TEST(AsciiGraphTest, DemoGraph) {
  EXPECT_EQ(Draw(DemoGraph(), GraphGlyphs::kUnicode), R"(
● base
├─╮
│ ● ft-kjv
│ ├─╮
│ │ ● ft-kjv-2
├─│─╮
│ │ ● ft-perl
│ ├─┤
│ ● │ merge-kjv-perl
│   ● ft-grown-vocab
● ft-perl-sharded
)");
  EXPECT_EQ(Draw(DemoGraph(), GraphGlyphs::kAscii), R"(
* base
+-.
| * ft-kjv
| +-.
| | * ft-kjv-2
+-|-.
| | * ft-perl
| +-+
| * | merge-kjv-perl
|   * ft-grown-vocab
* ft-perl-sharded
)");
}

TEST(AsciiGraphTest, UnrelatedRootsAreApart) {
  const std::vector<GraphNode> nodes = {Node("a"), Node("a2", {"a"}), Node("b"), Node("b2", {"b"})};
  EXPECT_EQ(Draw(nodes, GraphGlyphs::kUnicode), R"(
● a
● a2

● b
● b2
)");
}

TEST(AsciiGraphTest, BranchToAFreeColumnOnTheLeft) {
  // `a` ends in column 0, which the first child of `b` takes.
  const std::vector<GraphNode> nodes = {Node("a"), Node("b"), Node("a2", {"a"}), Node("b2", {"b"}),
                                        Node("b3", {"b"})};
  EXPECT_EQ(Draw(nodes, GraphGlyphs::kUnicode), R"(
● a
│ ● b
● │ a2
╭─┤
● │ b2
  ● b3
)");
}

TEST(AsciiGraphTest, AbsentAndRepeatedParents) {
  const std::vector<GraphNode> nodes = {Node("a", {"gone"}), Node("b", {"a", "a"})};
  EXPECT_EQ(Draw(nodes, GraphGlyphs::kUnicode), "\n● a\n● b\n");
}

TEST(AsciiGraphTest, Errors) {
  EXPECT_THAT(Draw({Node("a"), Node("a")}, GraphGlyphs::kAscii),
              HasSubstr("node a: expected once, found twice"));
  EXPECT_THAT(Draw({Node("b", {"a"}), Node("a")}, GraphGlyphs::kAscii),
              HasSubstr("node b: expected its parent a before it"));
  EXPECT_THAT(Draw({Node("a", {"a"})}, GraphGlyphs::kAscii), HasSubstr("node a"));
}

TEST(AsciiGraphTest, ManyBranchesAndMergesReuseColumns) {
  // 50 rounds of two branches and their merge, each with a leaf beside it.
  std::vector<LineageNode> lineage = {{"m0", {}}};
  for (int i = 0; i < 50; ++i) {
    const std::string previous = absl::StrCat("m", i);
    const std::string left = absl::StrCat("l", i);
    const std::string right = absl::StrCat("r", i);
    lineage.push_back({left, {previous}});
    lineage.push_back({right, {previous}});
    lineage.push_back({absl::StrCat("leaf", i), {right}});
    lineage.push_back({absl::StrCat("m", i + 1), {left, right}});
  }
  const auto order = TopologicalOrder(lineage);
  ASSERT_TRUE(order.ok()) << order.status();
  std::vector<GraphNode> nodes;
  for (const size_t i : *order) nodes.push_back(Node(lineage[i].id, lineage[i].parents));
  ASSERT_EQ(nodes.size(), 201u);
  const auto lines = DrawGraph(nodes, GraphGlyphs::kAscii);
  ASSERT_TRUE(lines.ok()) << lines.status();
  size_t widest = 0;
  for (const std::string& line : *lines) widest = std::max(widest, line.size());
  EXPECT_LE(widest, 2 * 3 + std::string("leaf49").size());
  EXPECT_LE(lines->size(), 2 * nodes.size());
}

}  // namespace
}  // namespace wdelta
