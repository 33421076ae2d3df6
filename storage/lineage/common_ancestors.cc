#include "storage/lineage/common_ancestors.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "absl/container/flat_hash_map.h"

namespace wdelta {
namespace {

using Index = LineageGraph::Index;

struct Step {
  Index index = 0;
  uint32_t depth = 0;
};

// A model and its ancestors, the nearest first.
std::vector<Step> Climb(const LineageGraph& graph, Index model) {
  std::vector<bool> seen(graph.index_end());
  std::vector<Step> steps = {{model, 0}};
  seen[model] = true;
  for (size_t next = 0; next < steps.size(); ++next) {
    const Step step = steps[next];
    for (const Index parent : graph.node(step.index).parents) {
      if (seen[parent]) continue;
      seen[parent] = true;
      steps.push_back({parent, step.depth + 1});
    }
  }
  return steps;
}

}  // namespace

std::vector<CommonAncestor> LowestCommonAncestors(const LineageGraph& graph,
                                                  absl::Span<const Index> models) {
  std::vector<std::vector<Step>> climbs;
  std::vector<uint32_t> descendant_counts(graph.index_end(), 0);  // of `models`
  for (const Index model : models) {
    climbs.push_back(Climb(graph, model));
    for (const Step& step : climbs.back()) ++descendant_counts[step.index];
  }
  if (climbs.empty()) return {};
  const auto is_common = [&](Index index) { return descendant_counts[index] == models.size(); };
  // Parents of a common ancestor are common too, and not the lowest.
  std::vector<bool> has_lower(graph.index_end());
  for (const Step& step : climbs.front()) {
    if (!is_common(step.index)) continue;
    for (const Index parent : graph.node(step.index).parents) has_lower[parent] = true;
  }
  absl::flat_hash_map<Index, std::vector<uint32_t>> depths;
  for (const std::vector<Step>& climb : climbs) {
    for (const Step& step : climb) {
      if (is_common(step.index) && !has_lower[step.index]) depths[step.index].push_back(step.depth);
    }
  }
  std::vector<CommonAncestor> lowest;
  for (auto& [index, of_models] : depths) lowest.push_back({index, std::move(of_models)});
  const auto key = [&](const CommonAncestor& ancestor) {
    const auto sum = std::accumulate(ancestor.depths.begin(), ancestor.depths.end(), uint64_t{0});
    return std::tuple(sum, graph.node(ancestor.index).rank);
  };
  std::sort(lowest.begin(), lowest.end(),
            [&](const CommonAncestor& a, const CommonAncestor& b) { return key(a) < key(b); });
  return lowest;
}

}  // namespace wdelta
