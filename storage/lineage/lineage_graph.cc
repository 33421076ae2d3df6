#include "storage/lineage/lineage_graph.h"

#include <algorithm>
#include <utility>

namespace wdelta {
namespace {

// Between neighbours, so that a node that comes late finds room between two others.
constexpr uint64_t kRankGap = uint64_t{1} << 20;

}  // namespace

void LineageGraph::Put(const Model& model) {
  const Index index = FindOrAdd(model.id, model.name);
  if (!HasParents(index, model.parents)) {
    Unlink(index);
    Link(index, model.parents);
  }
  Node& node = nodes_[index];
  node.name = model.name;
  node.is_known = true;
  node.is_live = !model.is_deleted;
  Settle(index);
}

void LineageGraph::Erase(absl::string_view id) {
  const auto found = index_by_id_.find(id);
  if (found == index_by_id_.end()) return;
  const Index index = found->second;
  Node& node = nodes_[index];
  node.is_known = false;
  node.is_live = false;
  Settle(index);
  Unlink(index);
  if (nodes_[index].children.empty()) {
    Remove(index);
  } else {
    SettleMembership(index);
  }
}

std::optional<LineageGraph::Index> LineageGraph::Find(absl::string_view id) const {
  const auto found = index_by_id_.find(id);
  if (found == index_by_id_.end() || !nodes_[found->second].is_visible) return std::nullopt;
  return found->second;
}

uint64_t LineageGraph::RankAfter(absl::string_view id) const {
  const auto at = std::upper_bound(
      order_.begin(), order_.end(), id,
      [this](absl::string_view wanted, Index index) { return wanted < nodes_[index].id; });
  if (at != order_.end()) return nodes_[*at].rank;
  return order_.empty() ? 0 : nodes_[order_.back()].rank + 1;
}

absl::string_view LineageGraph::LastId() const {
  return order_.empty() ? absl::string_view() : nodes_[order_.back()].id;
}

std::vector<LineageGraph::Index> LineageGraph::After(const OrderedNodes& nodes,
                                                     absl::string_view after_id, size_t limit) {
  std::vector<Index> found;
  for (auto at = nodes.upper_bound(after_id); at != nodes.end() && found.size() < limit; ++at) {
    found.push_back(at->second);
  }
  return found;
}

std::vector<LineageGraph::Index> LineageGraph::Roots(absl::string_view after_id,
                                                     size_t limit) const {
  return After(roots_, after_id, limit);
}

std::vector<LineageGraph::Index> LineageGraph::Leaves(absl::string_view after_id,
                                                      size_t limit) const {
  return After(leaves_, after_id, limit);
}

std::vector<LineageGraph::Index> LineageGraph::Children(Index parent, absl::string_view after_id,
                                                        size_t limit) const {
  const std::vector<Index>& children = nodes_[parent].children;
  auto at = std::upper_bound(
      children.begin(), children.end(), after_id,
      [this](absl::string_view wanted, Index index) { return wanted < nodes_[index].id; });
  std::vector<Index> found;
  for (; at != children.end() && found.size() < limit; ++at) {
    if (nodes_[*at].is_visible) found.push_back(*at);
  }
  return found;
}

LineageGraph::Index LineageGraph::FindOrAdd(const std::string& id, const std::string& name) {
  const auto found = index_by_id_.find(id);
  if (found != index_by_id_.end()) return found->second;
  Index index;
  if (free_.empty()) {
    index = static_cast<Index>(nodes_.size());
    nodes_.emplace_back();
  } else {
    index = free_.back();
    free_.pop_back();
  }
  Node& node = nodes_[index];
  node.id = id;
  node.name = name;
  index_by_id_.emplace(node.id, index);
  GiveRank(index);
  return index;
}

void LineageGraph::GiveRank(Index index) {
  Node& node = nodes_[index];
  auto at = order_.end();
  if (!order_.empty() && node.id < nodes_[order_.back()].id) {
    at = std::lower_bound(
        order_.begin(), order_.end(), node.id,
        [this](Index other, absl::string_view id) { return nodes_[other].id < id; });
  }
  const uint64_t before = at == order_.begin() ? 0 : nodes_[*(at - 1)].rank;
  const uint64_t after = at == order_.end() ? before + 2 * kRankGap : nodes_[*at].rank;
  node.rank = before + (after - before) / 2;
  order_.insert(at, index);
  if (node.rank > before) return;
  for (size_t i = 0; i < order_.size(); ++i) nodes_[order_[i]].rank = (i + 1) * kRankGap;
}

void LineageGraph::Remove(Index index) {
  Node& node = nodes_[index];
  order_.erase(
      std::lower_bound(order_.begin(), order_.end(), node.rank,
                       [this](Index other, uint64_t rank) { return nodes_[other].rank < rank; }));
  index_by_id_.erase(node.id);
  node = Node();
  free_.push_back(index);
}

void LineageGraph::Unlink(Index child) {
  const std::vector<Index> parents = std::exchange(nodes_[child].parents, {});
  for (const Index parent : parents) {
    Node& node = nodes_[parent];
    const auto at =
        std::lower_bound(node.children.begin(), node.children.end(), nodes_[child].rank,
                         [this](Index other, uint64_t rank) { return nodes_[other].rank < rank; });
    node.children.erase(at);
    if (nodes_[child].is_visible) --node.visible_child_count;
    Settle(parent);
    if (!nodes_[parent].is_known && nodes_[parent].children.empty()) Remove(parent);
  }
}

void LineageGraph::Link(Index child, const std::vector<ParentName>& parents) {
  for (const ParentName& named : parents) {
    const Index parent = FindOrAdd(named.id, named.name);
    std::vector<Index>& links = nodes_[child].parents;
    const bool is_linked = std::find(links.begin(), links.end(), parent) != links.end();
    if (is_linked || parent == child) continue;
    links.push_back(parent);
    Node& node = nodes_[parent];
    const auto at =
        std::lower_bound(node.children.begin(), node.children.end(), nodes_[child].rank,
                         [this](Index other, uint64_t rank) { return nodes_[other].rank < rank; });
    node.children.insert(at, child);
    if (nodes_[child].is_visible) ++node.visible_child_count;
    Settle(parent);
  }
  SettleMembership(child);
}

bool LineageGraph::HasParents(Index child, const std::vector<ParentName>& parents) const {
  const std::vector<Index>& links = nodes_[child].parents;
  return std::equal(
      links.begin(), links.end(), parents.begin(), parents.end(),
      [this](Index index, const ParentName& named) { return nodes_[index].id == named.id; });
}

void LineageGraph::Settle(Index index) {
  std::vector<Index> unsettled = {index};
  while (!unsettled.empty()) {
    const Index next = unsettled.back();
    unsettled.pop_back();
    Node& node = nodes_[next];
    const bool is_visible = node.is_live || node.visible_child_count > 0;
    if (is_visible != node.is_visible) {
      node.is_visible = is_visible;
      is_visible ? ++visible_count_ : --visible_count_;
      for (const Index parent : node.parents) {
        is_visible ? ++nodes_[parent].visible_child_count : --nodes_[parent].visible_child_count;
        unsettled.push_back(parent);
      }
    }
    SettleMembership(next);
  }
}

void LineageGraph::SettleMembership(Index index) {
  const Node& node = nodes_[index];
  const auto settle = [&](bool belongs, OrderedNodes& nodes) {
    if (belongs) {
      nodes.emplace(node.id, index);
    } else {
      nodes.erase(node.id);
    }
  };
  settle(node.is_visible && node.parents.empty(), roots_);
  settle(node.is_visible && node.visible_child_count == 0, leaves_);
}

}  // namespace wdelta
