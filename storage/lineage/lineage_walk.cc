#include "storage/lineage/lineage_walk.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace wdelta {
namespace {

using Index = LineageGraph::Index;

// Breadth first in one direction, a level at a time.
class Levels {
 public:
  Levels(const LineageGraph* graph, Index start, bool is_downward)
      : graph_(*graph), is_downward_(is_downward), seen_(graph->index_end()), level_({start}) {
    seen_[start] = true;
  }

  bool is_downward() const { return is_downward_; }
  // In no order; empty once the walk is over.
  const std::vector<Index>& level() const { return level_; }

  void Advance() {
    std::vector<Index> next;
    for (const Index index : level_) {
      const LineageGraph::Node& node = graph_.node(index);
      for (const Index neighbour : is_downward_ ? node.children : node.parents) {
        if (seen_[neighbour] || !graph_.node(neighbour).is_visible) continue;
        seen_[neighbour] = true;
        next.push_back(neighbour);
      }
    }
    level_ = std::move(next);
  }

 private:
  const LineageGraph& graph_;
  const bool is_downward_;
  std::vector<bool> seen_;
  std::vector<Index> level_;
};

// Those of a level with at least `min_rank`, in order, at most `count`.
std::vector<Index> OldestOf(const LineageGraph& graph, const std::vector<Index>& level,
                            uint64_t min_rank, size_t count) {
  std::vector<std::pair<uint64_t, Index>> ranked;
  for (const Index index : level) {
    const uint64_t rank = graph.node(index).rank;
    if (rank >= min_rank) ranked.emplace_back(rank, index);
  }
  if (ranked.size() > count) {
    std::nth_element(ranked.begin(), ranked.begin() + static_cast<ptrdiff_t>(count), ranked.end());
    ranked.resize(count);
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<Index> oldest;
  for (const auto& [rank, index] : ranked) oldest.push_back(index);
  return oldest;
}

}  // namespace

WalkPage Walk(const LineageGraph& graph, const WalkQuery& query) {
  std::vector<Levels> walks;
  if (query.direction != WalkDirection::kDescendants) {
    walks.emplace_back(&graph, query.start, false);
  }
  if (query.direction != WalkDirection::kAncestors) walks.emplace_back(&graph, query.start, true);
  WalkPage page;
  const size_t wanted = query.limit + 1;
  for (uint32_t depth = 0;; ++depth) {
    bool is_over = true;
    for (const Levels& walk : walks) {
      is_over = is_over && walk.level().empty();
      // The start is in both walks.
      if (depth == 0 && &walk != &walks.front()) continue;
      uint64_t min_rank = 0;
      if (query.after.has_value()) {
        const auto here = std::tuple(depth, walk.is_downward());
        const auto after = std::tuple(query.after->depth, query.after->is_descendant);
        if (here < after) continue;
        if (here == after) min_rank = graph.RankAfter(query.after->id);
      }
      for (const Index index :
           OldestOf(graph, walk.level(), min_rank, wanted - page.nodes.size())) {
        page.nodes.push_back({index, depth, walk.is_downward()});
      }
    }
    if (page.nodes.size() == wanted) {
      page.nodes.pop_back();
      page.has_more = true;
      return page;
    }
    if (is_over || depth == query.max_depth) return page;
    for (Levels& walk : walks) walk.Advance();
  }
}

}  // namespace wdelta
