// Random lineages that grow and shrink, beside a model of them that is slow and plain.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/lineage/common_ancestors.h"
#include "storage/lineage/lineage_path.h"
#include "storage/lineage/lineage_walk.h"
#include "tests/lineage/graph_names.h"

namespace wdelta::testing {
namespace {

constexpr size_t kAll = 100'000;

// All answers by following edges from each model, over and over.
struct PlainLineage {
  struct Entry {
    std::vector<std::string> parents;
    bool is_known = true;
    bool is_live = true;
  };
  std::map<std::string, Entry> entries;

  std::vector<std::string> ChildrenOf(const std::string& id) const {
    std::vector<std::string> children;
    for (const auto& [child, entry] : entries) {
      const auto& parents = entry.parents;
      if (std::find(parents.begin(), parents.end(), id) == parents.end()) continue;
      if (IsVisible(child)) children.push_back(child);
    }
    return children;
  }
  bool IsVisible(const std::string& id) const {
    const Entry& entry = entries.at(id);
    return (entry.is_known && entry.is_live) || !ChildrenOf(id).empty();
  }
  std::vector<std::string> Neighbours(const std::string& id, bool up, bool down) const {
    std::vector<std::string> next;
    if (up) next = entries.at(id).parents;
    if (down) {
      for (const std::string& child : ChildrenOf(id)) next.push_back(child);
    }
    return next;
  }
  // Edges from `start`, of all that can be reached.
  std::map<std::string, uint32_t> Depths(const std::string& start, bool up, bool down) const {
    std::map<std::string, uint32_t> depths = {{start, 0}};
    std::vector<std::string> queue = {start};
    for (size_t i = 0; i < queue.size(); ++i) {
      const std::string id = queue[i];
      for (const std::string& next : Neighbours(id, up, down)) {
        if (depths.emplace(next, depths[id] + 1).second) queue.push_back(next);
      }
    }
    return depths;
  }
};

class LineageProperty : public ::testing::TestWithParam<int> {
 protected:
  LineageProperty() : random_(static_cast<uint32_t>(GetParam())) {}

  uint32_t Below(uint32_t bound) {
    return std::uniform_int_distribution<uint32_t>(0, bound - 1)(random_);
  }
  std::vector<std::string> Visible() const {
    std::vector<std::string> ids;
    for (const auto& [id, entry] : plain_.entries) {
      if (plain_.IsVisible(id)) ids.push_back(id);
    }
    return ids;
  }
  std::string Any(const std::vector<std::string>& ids) {
    return ids[Below(static_cast<uint32_t>(ids.size()))];
  }
  LineageGraph::Index At(const std::string& id) const { return graph_.Find(id).value(); }

  // Mostly behind all others, as ids are; now and then in between.
  std::string NewId() {
    const uint32_t number = Below(8) == 0 ? Below(next_number_) : next_number_ += 10;
    std::string digits = absl::StrCat(absl::Dec(number, absl::kZeroPad8));
    if (Below(8) == 0) absl::StrAppend(&digits, Below(1000));
    return digits;
  }

  void Add() {
    const std::string id = NewId();
    if (plain_.entries.contains(id)) return;
    std::vector<std::string> parents;
    for (const auto& [other, entry] : plain_.entries) {
      if (entry.is_known && entry.is_live) parents.push_back(other);
    }
    std::shuffle(parents.begin(), parents.end(), random_);
    parents.resize(std::min<size_t>(parents.size(), Below(4)));
    plain_.entries[id].parents = parents;
    graph_.Put(Named(id, parents));
  }

  void ChangeSomething() {
    const uint32_t what = Below(10);
    if (what < 7 || plain_.entries.empty()) return Add();
    auto entry = plain_.entries.begin();
    std::advance(entry, Below(static_cast<uint32_t>(plain_.entries.size())));
    const std::string id = entry->first;
    if (!entry->second.is_known) return;
    if (what == 7 || entry->second.is_live) {
      entry->second.is_live = false;
      graph_.Put(Named(id, entry->second.parents, true));
      return;
    }
    graph_.Erase(id);
    entry->second.is_known = false;
    entry->second.parents.clear();
    Sweep();
  }

  // What nobody knows and nobody names is gone.
  void Sweep() {
    std::set<std::string> named;
    for (const auto& [id, entry] : plain_.entries) {
      named.insert(entry.parents.begin(), entry.parents.end());
    }
    std::erase_if(plain_.entries, [&](const auto& item) {
      return !item.second.is_known && !named.contains(item.first);
    });
  }

  void CheckLists() {
    const std::vector<std::string> visible = Visible();
    EXPECT_EQ(graph_.visible_count(), visible.size());
    std::vector<std::string> roots, leaves;
    for (const std::string& id : visible) {
      EXPECT_TRUE(graph_.Find(id).has_value()) << id;
      if (plain_.entries.at(id).parents.empty()) roots.push_back(id);
      if (plain_.ChildrenOf(id).empty()) leaves.push_back(id);
      EXPECT_EQ(IdsOf(graph_, graph_.Children(At(id), "", kAll)), plain_.ChildrenOf(id));
    }
    EXPECT_EQ(IdsOf(graph_, graph_.Roots("", kAll)), roots);
    EXPECT_EQ(IdsOf(graph_, graph_.Leaves("", kAll)), leaves);
  }

  using Place = std::tuple<uint32_t, bool, std::string>;

  std::vector<Place> PlainWalk(const std::string& start, WalkDirection direction, uint32_t depth) {
    std::vector<Place> places;
    const bool up = direction != WalkDirection::kDescendants;
    const bool down = direction != WalkDirection::kAncestors;
    if (up) {
      for (const auto& [id, at] : plain_.Depths(start, true, false)) {
        if (at <= depth) places.emplace_back(at, false, id);
      }
    }
    if (down) {
      for (const auto& [id, at] : plain_.Depths(start, false, true)) {
        if (at <= depth && (at > 0 || !up)) places.emplace_back(at, true, id);
      }
    }
    std::sort(places.begin(), places.end());
    return places;
  }

  // In pages, between which models are added.
  void CheckWalk() {
    const std::vector<std::string> visible = Visible();
    if (visible.empty()) return;
    const std::string start = Any(visible);
    const auto direction = static_cast<WalkDirection>(Below(3));
    const uint32_t depth = Below(2) == 0 ? UINT32_MAX : Below(4);
    const bool grows = Below(2) == 0;
    const std::vector<Place> expected = PlainWalk(start, direction, depth);
    WalkQuery query{At(start), direction, depth, std::nullopt, 1 + Below(4)};
    std::vector<Place> found;
    while (true) {
      query.start = At(start);
      const WalkPage page = Walk(graph_, query);
      EXPECT_LE(page.nodes.size(), query.limit);
      for (const WalkedNode& node : page.nodes) {
        found.emplace_back(node.depth, node.is_descendant, graph_.node(node.index).id);
      }
      if (!page.has_more) break;
      query.after = WalkPosition{std::get<0>(found.back()), std::get<1>(found.back()),
                                 std::get<2>(found.back())};
      if (grows && Below(3) > 0 && found.size() < 200) Add();
    }
    EXPECT_TRUE(std::is_sorted(found.begin(), found.end()));
    EXPECT_EQ(std::set<Place>(found.begin(), found.end()).size(), found.size());
    if (!grows) {
      EXPECT_EQ(found, expected);
    }
    EXPECT_TRUE(std::includes(found.begin(), found.end(), expected.begin(), expected.end()));
  }

  void CheckPath(PathEdges edges) {
    const std::vector<std::string> visible = Visible();
    if (visible.empty()) return;
    const std::string from = Any(visible);
    const std::string to = Any(visible);
    std::optional<uint32_t> expected;
    const auto consider = [&](const std::map<std::string, uint32_t>& depths) {
      if (depths.contains(to)) expected = std::min(expected.value_or(UINT32_MAX), depths.at(to));
    };
    if (edges == PathEdges::kAny) {
      consider(plain_.Depths(from, true, true));
    } else {
      consider(plain_.Depths(from, true, false));
      consider(plain_.Depths(from, false, true));
    }
    const std::vector<std::string> path =
        IdsOf(graph_, ShortestPath(graph_, At(from), At(to), edges));
    ASSERT_EQ(path.empty(), !expected.has_value()) << from << " to " << to;
    if (path.empty()) return;
    EXPECT_EQ(path.size(), *expected + 1);
    EXPECT_EQ(path.front(), from);
    EXPECT_EQ(path.back(), to);
    for (size_t i = 1; i < path.size(); ++i) {
      const std::vector<std::string> next = plain_.Neighbours(path[i - 1], true, true);
      EXPECT_NE(std::find(next.begin(), next.end(), path[i]), next.end());
    }
  }

  void CheckCommonAncestors() {
    const std::vector<std::string> visible = Visible();
    if (visible.empty()) return;
    std::vector<std::string> models;
    std::vector<LineageGraph::Index> indexes;
    std::vector<std::map<std::string, uint32_t>> depths;
    for (uint32_t i = 0; i < 2 + Below(2); ++i) {
      models.push_back(Any(visible));
      indexes.push_back(At(models.back()));
      depths.push_back(plain_.Depths(models.back(), true, false));
    }
    const auto is_common = [&](const std::string& id) {
      return std::all_of(depths.begin(), depths.end(),
                         [&](const auto& of_model) { return of_model.contains(id); });
    };
    std::vector<std::pair<uint32_t, std::string>> expected;
    for (const auto& [id, depth] : depths[0]) {
      if (!is_common(id)) continue;
      const auto lower = plain_.Depths(id, false, true);
      if (std::count_if(lower.begin(), lower.end(),
                        [&](const auto& item) { return is_common(item.first); }) > 1) {
        continue;
      }
      uint32_t sum = 0;
      for (const auto& of_model : depths) sum += of_model.at(id);
      expected.emplace_back(sum, id);
    }
    std::sort(expected.begin(), expected.end());
    const std::vector<CommonAncestor> found = LowestCommonAncestors(graph_, indexes);
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(graph_.node(found[i].index).id, expected[i].second);
      ASSERT_EQ(found[i].depths.size(), models.size());
      for (size_t m = 0; m < models.size(); ++m) {
        EXPECT_EQ(found[i].depths[m], depths[m].at(expected[i].second));
      }
    }
  }

  std::mt19937 random_;
  PlainLineage plain_;
  LineageGraph graph_;
  uint32_t next_number_ = 10;
};

TEST_P(LineageProperty, AnswersAreThoseOfThePlainModel) {
  SCOPED_TRACE(absl::StrCat("seed ", GetParam()));
  for (int step = 0; step < 160 && !HasFailure(); ++step) {
    ChangeSomething();
    if (step % 4 != 0) continue;
    CheckLists();
    CheckWalk();
    CheckPath(PathEdges::kAncestry);
    CheckPath(PathEdges::kAny);
    CheckCommonAncestors();
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, LineageProperty, ::testing::Range(1, 61));

}  // namespace
}  // namespace wdelta::testing
