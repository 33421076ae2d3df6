#include "storage/lineage/lineage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace wdelta {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint32_t kAnyDepth = UINT32_MAX;
constexpr uint64_t kAnyVisits = UINT64_MAX;

using Edges = std::map<std::string, std::vector<std::string>>;

// A graph in memory that counts what is asked of it.
class Graph {
 public:
  explicit Graph(Edges edges) : edges_(std::move(edges)) {}

  absl::StatusOr<std::vector<std::string>> operator()(const std::string& id) const {
    ++lookups_;
    const auto it = edges_.find(id);
    if (it == edges_.end()) return absl::NotFoundError(absl::StrCat("model ", id));
    return it->second;
  }
  int lookups() const { return lookups_; }

 private:
  const Edges edges_;
  mutable int lookups_ = 0;
};

// base <- a, b, c; merge <- a, b; top <- merge, base.
Graph Diamond() {
  return Graph(Edges{{"base", {}},
                     {"a", {"base"}},
                     {"b", {"base"}},
                     {"c", {"base"}},
                     {"merge", {"a", "b"}},
                     {"top", {"merge", "base"}}});
}

// n0 <- n1 <- ... <- n<size - 1>.
Graph Chain(int size) {
  Edges edges = {{"n0", {}}};
  for (int i = 1; i < size; ++i) edges[absl::StrCat("n", i)] = {absl::StrCat("n", i - 1)};
  return Graph(std::move(edges));
}

LineageStep Step(const std::string& id, uint32_t depth) { return {id, depth}; }

TEST(TraverseTest, YieldsEachOnceByDepthThenDiscovery) {
  Graph graph = Diamond();
  const auto walk = Traverse({"top"}, graph, kAnyDepth, kAnyVisits);
  ASSERT_TRUE(walk.ok()) << walk.status();
  EXPECT_THAT(walk->steps, ElementsAre(Step("top", 0), Step("merge", 1), Step("base", 1),
                                       Step("a", 2), Step("b", 2)));
  EXPECT_FALSE(walk->is_cut);
  EXPECT_EQ(graph.lookups(), 5);
}

TEST(TraverseTest, SeveralStartsAndRepeats) {
  Graph graph = Diamond();
  const auto walk = Traverse({"b", "c", "b"}, graph, kAnyDepth, kAnyVisits);
  ASSERT_TRUE(walk.ok()) << walk.status();
  EXPECT_THAT(walk->steps, ElementsAre(Step("b", 0), Step("c", 0), Step("base", 1)));
}

TEST(TraverseTest, DepthLimitStopsLookups) {
  Graph graph = Diamond();
  const auto start_only = Traverse({"top"}, graph, 0, kAnyVisits);
  ASSERT_TRUE(start_only.ok());
  EXPECT_THAT(start_only->steps, ElementsAre(Step("top", 0)));
  EXPECT_EQ(graph.lookups(), 0);
  const auto one = Traverse({"top"}, graph, 1, kAnyVisits);
  ASSERT_TRUE(one.ok());
  EXPECT_THAT(one->steps, ElementsAre(Step("top", 0), Step("merge", 1), Step("base", 1)));
  EXPECT_FALSE(one->is_cut);
  EXPECT_EQ(graph.lookups(), 1);
}

TEST(TraverseTest, VisitLimitCuts) {
  Graph graph = Diamond();
  const auto cut = Traverse({"top"}, graph, kAnyDepth, 4);
  ASSERT_TRUE(cut.ok());
  EXPECT_EQ(cut->steps.size(), 4u);
  EXPECT_TRUE(cut->is_cut);
  const auto exact = Traverse({"top"}, graph, kAnyDepth, 5);
  ASSERT_TRUE(exact.ok());
  EXPECT_EQ(exact->steps.size(), 5u);
  EXPECT_FALSE(exact->is_cut);
}

TEST(TraverseTest, LookupErrorIsTheResult) {
  Graph graph(Edges{{"child", {"gone"}}});
  const auto walk = Traverse({"child"}, graph, kAnyDepth, kAnyVisits);
  EXPECT_EQ(walk.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(walk.status().message(), HasSubstr("gone"));
}

TEST(TraverseTest, EndsOnACycle) {
  Graph graph(Edges{{"a", {"b"}}, {"b", {"a"}}});
  const auto walk = Traverse({"a"}, graph, kAnyDepth, kAnyVisits);
  ASSERT_TRUE(walk.ok());
  EXPECT_THAT(walk->steps, ElementsAre(Step("a", 0), Step("b", 1)));
}

TEST(TraverseTest, DeepGraph) {
  Graph graph = Chain(10'000);
  const auto walk = Traverse({"n9999"}, graph, kAnyDepth, kAnyVisits);
  ASSERT_TRUE(walk.ok());
  ASSERT_EQ(walk->steps.size(), 10'000u);
  EXPECT_EQ(walk->steps.back(), Step("n0", 9999));
}

std::vector<std::string> OrderedIds(const std::vector<LineageNode>& nodes) {
  const auto order = TopologicalOrder(nodes);
  EXPECT_TRUE(order.ok()) << order.status();
  std::vector<std::string> ids;
  if (!order.ok()) return ids;
  for (const size_t i : *order) ids.push_back(nodes[i].id);
  return ids;
}

TEST(TopologicalOrderTest, KeepsBranchesTogether) {
  EXPECT_THAT(OrderedIds({{"merge", {"kjv", "perl"}},
                          {"sharded", {"base"}},
                          {"kjv", {"base"}},
                          {"kjv-2", {"kjv"}},
                          {"perl", {"base", "absent"}},
                          {"base", {}}}),
              ElementsAre("base", "sharded", "kjv", "kjv-2", "perl", "merge"));
}

TEST(TopologicalOrderTest, WideAndDeep) {
  std::vector<LineageNode> nodes = {{"root", {}}};
  for (int i = 0; i < 10'000; ++i) {
    nodes.push_back({absl::StrCat("d", i), {i == 0 ? "root" : absl::StrCat("d", i - 1)}});
    nodes.push_back({absl::StrCat("w", i), {"root"}});
  }
  const std::vector<std::string> ids = OrderedIds(nodes);
  ASSERT_EQ(ids.size(), nodes.size());
  EXPECT_EQ(ids.front(), "root");
  EXPECT_EQ(ids[10'000], "d9999");
}

TEST(TopologicalOrderTest, Errors) {
  EXPECT_EQ(TopologicalOrder({{"a", {}}, {"a", {}}}).status().code(),
            absl::StatusCode::kInvalidArgument);
  const auto cycle = TopologicalOrder({{"a", {"b"}}, {"b", {"a"}}, {"c", {}}});
  EXPECT_EQ(cycle.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(cycle.status().message(), HasSubstr("node a"));
  const auto self = TopologicalOrder({{"a", {"a"}}});
  EXPECT_EQ(self.status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace wdelta
