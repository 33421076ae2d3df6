// Walks, paths and common ancestors over graphs that one can see through.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/lineage/common_ancestors.h"
#include "storage/lineage/lineage_path.h"
#include "storage/lineage/lineage_walk.h"
#include "tests/lineage/graph_names.h"

namespace wdelta::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

LineageGraph::Index At(const LineageGraph& graph, const std::string& id) {
  return graph.Find(id).value();
}

// base <- a, b, c; merge <- a, b; top <- merge, base; x apart.
LineageGraph Diamond() {
  LineageGraph graph;
  graph.Put(Named("base"));
  for (const char* id : {"a", "b", "c"}) graph.Put(Named(id, {"base"}));
  graph.Put(Named("merge", {"b", "a"}));
  graph.Put(Named("top", {"merge", "base"}));
  graph.Put(Named("x"));
  return graph;
}

// All pages of a walk, as `id/depth`; pages are apart by `|`.
std::string Pages(const LineageGraph& graph, const std::string& start, WalkDirection direction,
                  uint32_t max_depth, size_t limit) {
  WalkQuery query{At(graph, start), direction, max_depth, std::nullopt, limit};
  std::string text;
  while (true) {
    const WalkPage page = Walk(graph, query);
    for (const WalkedNode& node : page.nodes) {
      absl::StrAppend(&text, graph.node(node.index).id, "/", node.depth, " ");
    }
    if (!page.has_more) return text;
    text += "| ";
    const WalkedNode& last = page.nodes.back();
    query.after = WalkPosition{last.depth, last.is_descendant, graph.node(last.index).id};
  }
}

TEST(Walk, NearestFirstThenById) {
  const LineageGraph graph = Diamond();
  EXPECT_EQ(Pages(graph, "top", WalkDirection::kAncestors, UINT32_MAX, 10),
            "top/0 base/1 merge/1 a/2 b/2 ");
  EXPECT_EQ(Pages(graph, "top", WalkDirection::kAncestors, UINT32_MAX, 2),
            "top/0 base/1 | merge/1 a/2 | b/2 ");
  EXPECT_EQ(Pages(graph, "base", WalkDirection::kDescendants, UINT32_MAX, 2),
            "base/0 a/1 | b/1 c/1 | top/1 merge/2 ");
  EXPECT_EQ(Pages(graph, "a", WalkDirection::kBoth, UINT32_MAX, 1),
            "a/0 | base/1 | merge/1 | top/2 ");
}

TEST(Walk, DepthLimit) {
  const LineageGraph graph = Diamond();
  EXPECT_EQ(Pages(graph, "top", WalkDirection::kAncestors, 1, 2), "top/0 base/1 | merge/1 ");
  EXPECT_EQ(Pages(graph, "top", WalkDirection::kBoth, 0, 5), "top/0 ");
  EXPECT_EQ(Pages(graph, "x", WalkDirection::kBoth, UINT32_MAX, 5), "x/0 ");
}

std::vector<std::string> Path(const LineageGraph& graph, const std::string& from,
                              const std::string& to, PathEdges edges) {
  return IdsOf(graph, ShortestPath(graph, At(graph, from), At(graph, to), edges));
}

TEST(ShortestPath, Ancestry) {
  const LineageGraph graph = Diamond();
  EXPECT_THAT(Path(graph, "top", "a", PathEdges::kAncestry), ElementsAre("top", "merge", "a"));
  EXPECT_THAT(Path(graph, "a", "top", PathEdges::kAncestry), ElementsAre("a", "merge", "top"));
  EXPECT_THAT(Path(graph, "base", "top", PathEdges::kAncestry), ElementsAre("base", "top"));
  EXPECT_THAT(Path(graph, "a", "a", PathEdges::kAncestry), ElementsAre("a"));
  EXPECT_THAT(Path(graph, "a", "b", PathEdges::kAncestry), IsEmpty());
}

TEST(ShortestPath, AnyEdges) {
  const LineageGraph graph = Diamond();
  EXPECT_THAT(Path(graph, "c", "merge", PathEdges::kAny).size(), 4u);  // by a or b
  EXPECT_THAT(Path(graph, "c", "top", PathEdges::kAny), ElementsAre("c", "base", "top"));
  EXPECT_THAT(Path(graph, "c", "x", PathEdges::kAny), IsEmpty());
  // Models from before `x` only.
  EXPECT_EQ(
      ShortestPath(graph, At(graph, "a"), At(graph, "b"), PathEdges::kAny, graph.RankAfter("base")),
      (std::vector{At(graph, "a"), At(graph, "base"), At(graph, "b")}));
}

TEST(ShortestPath, DoesNotPassDeletedModelsWithoutLiveDescendants) {
  LineageGraph graph;
  graph.Put(Named("a"));
  graph.Put(Named("b"));
  graph.Put(Named("merge", {"a", "b"}));
  EXPECT_THAT(Path(graph, "a", "b", PathEdges::kAny), ElementsAre("a", "merge", "b"));
  graph.Put(Named("merge", {"a", "b"}, true));
  EXPECT_THAT(Path(graph, "a", "b", PathEdges::kAny), IsEmpty());
}

// `id:depth,depth` each.
std::vector<std::string> Lowest(const LineageGraph& graph, const std::vector<std::string>& ids) {
  std::vector<LineageGraph::Index> models;
  for (const std::string& id : ids) models.push_back(At(graph, id));
  std::vector<std::string> found;
  for (const CommonAncestor& ancestor : LowestCommonAncestors(graph, models)) {
    std::string text = absl::StrCat(graph.node(ancestor.index).id, ":");
    for (const uint32_t depth : ancestor.depths) absl::StrAppend(&text, depth, ",");
    found.push_back(text);
  }
  return found;
}

TEST(LowestCommonAncestors, AllOfThemNearestFirst) {
  LineageGraph graph = Diamond();
  EXPECT_THAT(Lowest(graph, {"a", "b"}), ElementsAre("base:1,1,"));
  EXPECT_THAT(Lowest(graph, {"top", "c"}), ElementsAre("base:1,1,"));
  EXPECT_THAT(Lowest(graph, {"top", "a"}), ElementsAre("a:2,0,"));
  EXPECT_THAT(Lowest(graph, {"a", "a"}), ElementsAre("a:0,0,"));
  EXPECT_THAT(Lowest(graph, {"a", "b", "c"}), ElementsAre("base:1,1,1,"));
  EXPECT_THAT(Lowest(graph, {"a", "x"}), IsEmpty());
  // Criss-cross: two merges of the same parents have both in common.
  graph.Put(Named("merge2", {"a", "b"}));
  EXPECT_THAT(Lowest(graph, {"merge", "merge2"}), ElementsAre("a:1,1,", "b:1,1,"));
  EXPECT_THAT(Lowest(graph, {"top", "merge2"}), ElementsAre("a:2,1,", "b:2,1,"));
}

TEST(LineageQueries, LongChainsAndWideFans) {
  LineageGraph graph;
  constexpr int kSize = 20'000;
  const auto name = [](const char* kind, int i) {
    return absl::StrCat(kind, absl::Dec(i, absl::kZeroPad6));
  };
  graph.Put(Named(name("c", 0)));
  for (int i = 1; i < kSize; ++i) {
    graph.Put(Named(name("c", i), {name("c", i - 1)}));
    graph.Put(Named(name("f", i), {name("c", 0)}));
  }
  EXPECT_EQ(Path(graph, name("c", 0), name("c", kSize - 1), PathEdges::kAncestry).size(),
            size_t{kSize});
  EXPECT_EQ(Path(graph, name("f", 7), name("c", 5), PathEdges::kAny).size(), 7u);
  EXPECT_THAT(Lowest(graph, {name("f", 1), name("c", 9)}), ElementsAre("c000000:1,9,"));
  const WalkPage page = Walk(graph, {At(graph, name("c", 0)), WalkDirection::kDescendants,
                                     UINT32_MAX, WalkPosition{1, true, name("f", kSize - 1)}, 3});
  EXPECT_EQ(page.nodes.front().depth, 2u);
  EXPECT_TRUE(page.has_more);
}

}  // namespace
}  // namespace wdelta::testing
