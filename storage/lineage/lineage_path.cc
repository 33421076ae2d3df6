#include "storage/lineage/lineage_path.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace wdelta {
namespace {

using Index = LineageGraph::Index;

constexpr Index kNone = UINT32_MAX;

// Breadth first from one end, a level at a time.
class Side {
 public:
  Side(const LineageGraph* graph, Index end, uint64_t end_rank)
      : graph_(*graph),
        end_rank_(end_rank),
        came_from_(graph->index_end(), kNone),
        frontier_({end}) {
    came_from_[end] = end;
  }

  size_t frontier_size() const { return frontier_.size(); }
  bool Reached(Index index) const { return came_from_[index] != kNone; }

  // The first node of the next level that `is_goal` holds for.
  template <typename IsGoal>
  std::optional<Index> Advance(bool to_children, IsGoal is_goal) {
    std::vector<Index> next;
    for (const Index index : frontier_) {
      const LineageGraph::Node& node = graph_.node(index);
      for (const std::vector<Index>* neighbours : {&node.parents, &node.children}) {
        if (neighbours == &node.children && !to_children) continue;
        for (const Index neighbour : *neighbours) {
          const LineageGraph::Node& other = graph_.node(neighbour);
          if (Reached(neighbour) || !other.is_visible || other.rank >= end_rank_) continue;
          came_from_[neighbour] = index;
          if (is_goal(neighbour)) return neighbour;
          next.push_back(neighbour);
        }
      }
    }
    frontier_ = std::move(next);
    return std::nullopt;
  }

  // From a reached node to this side's end.
  std::vector<Index> WayBack(Index index) const {
    std::vector<Index> way = {index};
    while (came_from_[way.back()] != way.back()) way.push_back(came_from_[way.back()]);
    return way;
  }

 private:
  const LineageGraph& graph_;
  const uint64_t end_rank_;
  std::vector<Index> came_from_;  // the end comes from itself
  std::vector<Index> frontier_;
};

// From `ancestor` down to `descendant`.
std::vector<Index> WayDown(const LineageGraph& graph, Index ancestor, Index descendant,
                           uint64_t end_rank) {
  Side side(&graph, descendant, end_rank);
  while (side.frontier_size() > 0) {
    const auto met = side.Advance(false, [&](Index index) { return index == ancestor; });
    if (met.has_value()) return side.WayBack(*met);
  }
  return {};
}

// From both ends, the narrower one first. The first meeting is on a shortest way: a
// shorter one would have shown itself when the nearer of its nodes was reached.
std::vector<Index> WayOfAnyEdges(const LineageGraph& graph, Index from, Index to,
                                 uint64_t end_rank) {
  Side left(&graph, from, end_rank);
  Side right(&graph, to, end_rank);
  while (left.frontier_size() > 0 && right.frontier_size() > 0) {
    const bool is_left = left.frontier_size() <= right.frontier_size();
    Side& side = is_left ? left : right;
    const Side& other = is_left ? right : left;
    const auto met = side.Advance(true, [&](Index index) { return other.Reached(index); });
    if (!met.has_value()) continue;
    std::vector<Index> way = left.WayBack(*met);
    std::reverse(way.begin(), way.end());
    const std::vector<Index> rest = right.WayBack(*met);
    way.insert(way.end(), rest.begin() + 1, rest.end());
    return way;
  }
  return {};
}

}  // namespace

std::vector<Index> ShortestPath(const LineageGraph& graph, Index from, Index to, PathEdges edges,
                                uint64_t end_rank) {
  if (from == to) return {from};
  if (edges == PathEdges::kAny) return WayOfAnyEdges(graph, from, to, end_rank);
  std::vector<Index> way = WayDown(graph, to, from, end_rank);
  if (!way.empty()) {
    std::reverse(way.begin(), way.end());
    return way;
  }
  return WayDown(graph, from, to, end_rank);
}

}  // namespace wdelta
