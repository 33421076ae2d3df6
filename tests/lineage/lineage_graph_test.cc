#include "storage/lineage/lineage_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/lineage/graph_names.h"

namespace wdelta::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr size_t kAll = 1000;

std::vector<std::string> Roots(const LineageGraph& graph) {
  return IdsOf(graph, graph.Roots("", kAll));
}
std::vector<std::string> Leaves(const LineageGraph& graph) {
  return IdsOf(graph, graph.Leaves("", kAll));
}
std::vector<std::string> Children(const LineageGraph& graph, const std::string& id) {
  return IdsOf(graph, graph.Children(graph.Find(id).value(), "", kAll));
}

TEST(LineageGraph, ListsAreInOrderOfIdWhateverTheOrderOfPuts) {
  LineageGraph graph;
  for (const char* id : {"m", "c", "x", "a", "b"}) graph.Put(Named(id, {"root"}));
  graph.Put(Named("root"));
  EXPECT_THAT(Children(graph, "root"), ElementsAre("a", "b", "c", "m", "x"));
  EXPECT_THAT(Leaves(graph), ElementsAre("a", "b", "c", "m", "x"));
  EXPECT_THAT(Roots(graph), ElementsAre("root"));
  EXPECT_EQ(graph.LastId(), "x");
  EXPECT_EQ(graph.visible_count(), 6u);
}

TEST(LineageGraph, ListsGoOnBehindAnIdThatIsGone) {
  LineageGraph graph;
  graph.Put(Named("root"));
  for (const char* id : {"a", "c", "e"}) graph.Put(Named(id, {"root"}));
  EXPECT_THAT(IdsOf(graph, graph.Leaves("b", 1)), ElementsAre("c"));
  EXPECT_THAT(IdsOf(graph, graph.Children(*graph.Find("root"), "c", 9)), ElementsAre("e"));
  EXPECT_THAT(IdsOf(graph, graph.Roots("root", 9)), IsEmpty());
}

TEST(LineageGraph, RanksFollowIdsWhenRoomRunsOut) {
  LineageGraph graph;
  graph.Put(Named("a"));
  graph.Put(Named("z"));
  // Each one just behind "a": halves the room until there is none.
  for (int i = 0; i < 100; ++i) {
    graph.Put(Named(absl::StrCat("b", std::string(static_cast<size_t>(100 - i), 'a'))));
  }
  const std::vector<LineageGraph::Index> roots = graph.Roots("", kAll);
  ASSERT_EQ(roots.size(), 102u);
  for (size_t i = 1; i < roots.size(); ++i) {
    EXPECT_LT(graph.node(roots[i - 1]).rank, graph.node(roots[i]).rank);
    EXPECT_EQ(graph.RankAfter(graph.node(roots[i - 1]).id), graph.node(roots[i]).rank);
  }
  EXPECT_GT(graph.RankAfter("z"), graph.node(roots.back()).rank);
}

TEST(LineageGraph, DeletedModelsStayWhileALiveOneDescendsFromThem) {
  LineageGraph graph;
  graph.Put(Named("base"));
  graph.Put(Named("mid", {"base"}));
  graph.Put(Named("top", {"mid"}));
  graph.Put(Named("mid", {"base"}, true));
  EXPECT_THAT(Children(graph, "base"), ElementsAre("mid"));
  EXPECT_FALSE(graph.node(*graph.Find("mid")).is_live);
  EXPECT_THAT(Leaves(graph), ElementsAre("top"));
  graph.Put(Named("top", {"mid"}, true));
  EXPECT_FALSE(graph.Find("mid").has_value());
  EXPECT_FALSE(graph.Find("top").has_value());
  EXPECT_THAT(Leaves(graph), ElementsAre("base"));
  EXPECT_THAT(Children(graph, "base"), IsEmpty());
  EXPECT_EQ(graph.visible_count(), 1u);
  graph.Erase("top");
  graph.Erase("mid");
  graph.Erase("never was");
  EXPECT_THAT(Roots(graph), ElementsAre("base"));
  graph.Erase("base");
  EXPECT_EQ(graph.visible_count(), 0u);
  EXPECT_EQ(graph.LastId(), "");
}

TEST(LineageGraph, AParentThatOnlyItsChildKnowsIsDeleted) {
  LineageGraph graph;
  graph.Put({"child", "child", {{"gone", "its-name"}}, false});
  ASSERT_TRUE(graph.Find("gone").has_value());
  const LineageGraph::Node& gone = graph.node(*graph.Find("gone"));
  EXPECT_EQ(gone.name, "its-name");
  EXPECT_FALSE(gone.is_live);
  EXPECT_THAT(Roots(graph), ElementsAre("gone"));
  graph.Put(Named("gone", {"older"}));
  EXPECT_TRUE(gone.is_live);
  EXPECT_THAT(Roots(graph), ElementsAre("older"));
  graph.Erase("gone");
  EXPECT_THAT(Roots(graph), ElementsAre("gone"));
  graph.Erase("child");
  EXPECT_EQ(graph.visible_count(), 0u);
  EXPECT_EQ(graph.LastId(), "");
}

TEST(LineageGraph, RepeatedAndOwnParentsAndCyclesAreHarmless) {
  LineageGraph graph;
  graph.Put(Named("a", {"a", "b", "b"}));
  graph.Put(Named("b", {"a"}));
  EXPECT_EQ(graph.node(*graph.Find("a")).parents.size(), 1u);
  graph.Put(Named("a", {"a", "b", "b"}, true));
  graph.Put(Named("b", {"a"}, true));
  graph.Erase("a");
  graph.Erase("b");
  EXPECT_EQ(graph.LastId(), "");
}

TEST(LineageGraph, SlotsAreUsedAgain) {
  LineageGraph graph;
  for (int i = 0; i < 50; ++i) {
    const std::string id = absl::StrCat("m", i);
    graph.Put(Named(id));
    graph.Erase(id);
  }
  EXPECT_EQ(graph.index_end(), 1u);
}

}  // namespace
}  // namespace wdelta::testing
