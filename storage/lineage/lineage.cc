#include "storage/lineage/lineage.h"

#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"

namespace wdelta {

absl::StatusOr<LineageWalk> Traverse(const std::vector<std::string>& starts,
                                     NeighbourLookup neighbours, uint32_t max_depth,
                                     uint64_t max_visits) {
  LineageWalk walk;
  absl::flat_hash_set<std::string> seen;
  const auto discover = [&](const std::string& id, uint32_t depth) {
    if (seen.contains(id)) return;
    if (walk.steps.size() >= max_visits) {
      walk.is_cut = true;
      return;
    }
    seen.insert(id);
    walk.steps.push_back({id, depth});
  };
  for (const std::string& start : starts) discover(start, 0);
  // The steps are the queue too: those behind `next` still have to be looked up.
  for (size_t next = 0; next < walk.steps.size() && !walk.is_cut; ++next) {
    const uint32_t depth = walk.steps[next].depth;
    if (depth >= max_depth) break;
    const std::string id = walk.steps[next].id;
    WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> ids, neighbours(id));
    for (const std::string& neighbour : ids) discover(neighbour, depth + 1);
  }
  return walk;
}

absl::StatusOr<std::vector<size_t>> TopologicalOrder(const std::vector<LineageNode>& nodes) {
  absl::flat_hash_map<absl::string_view, size_t> index_of;
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (!index_of.emplace(nodes[i].id, i).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("node ", nodes[i].id, ": expected once, found twice"));
    }
  }
  std::vector<std::vector<size_t>> children(nodes.size());
  std::vector<size_t> waits_for(nodes.size(), 0);
  for (size_t i = 0; i < nodes.size(); ++i) {
    for (const std::string& parent : nodes[i].parents) {
      const auto it = index_of.find(parent);
      if (it == index_of.end()) continue;
      children[it->second].push_back(i);
      ++waits_for[i];
    }
  }
  // A stack of nodes whose parents are all placed, the first on top.
  std::vector<size_t> ready;
  for (size_t i = nodes.size(); i-- > 0;) {
    if (waits_for[i] == 0) ready.push_back(i);
  }
  std::vector<size_t> order;
  order.reserve(nodes.size());
  while (!ready.empty()) {
    const size_t node = ready.back();
    ready.pop_back();
    order.push_back(node);
    for (size_t c = children[node].size(); c-- > 0;) {
      if (--waits_for[children[node][c]] == 0) ready.push_back(children[node][c]);
    }
  }
  if (order.size() == nodes.size()) return order;
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (waits_for[i] == 0) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("node ", nodes[i].id, ": expected no cycle, found one through it or above"));
  }
  return absl::InternalError("topological order: nodes are missing");
}

}  // namespace wdelta
