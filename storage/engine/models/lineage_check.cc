#include "storage/engine/models/lineage_check.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/lineage/lineage.h"

namespace wdelta {
namespace {

using store::v1::LineageCheck;
using store::v1::ModelRecord;
using store::v1::ParentEdge;
using store::v1::StorageCandidate;

// A relative saves at least this part of what the model takes otherwise; less may be
// chance.
constexpr double kClearlyCloser = 0.9;
// A parent that saves less than this says nothing.
constexpr double kNoCloser = 0.99;

bool IsUsable(const StorageCandidate& candidate) {
  return candidate.refusal() != StorageCandidate::UNREADABLE;
}

}  // namespace

absl::StatusOr<std::vector<DeclaredAncestor>> DeclaredAncestors(Models& models,
                                                                const ModelRecord& model) {
  absl::flat_hash_map<std::string, bool> is_root;
  const auto parents_of = [&](const std::string& id) -> absl::StatusOr<std::vector<std::string>> {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> found, models.GetById(id));
    std::vector<std::string> parents;
    if (!found.has_value()) return parents;
    for (const ParentEdge& edge : found->record.parents()) parents.push_back(edge.model_id());
    is_root[id] = parents.empty();
    return parents;
  };
  std::vector<std::string> declared;
  for (const ParentEdge& edge : model.parents()) declared.push_back(edge.model_id());
  WDELTA_ASSIGN_OR_RETURN(const LineageWalk walk,
                          Traverse(declared, parents_of, std::numeric_limits<uint32_t>::max(),
                                   limits::kMaxRelativesVisited));
  std::vector<DeclaredAncestor> ancestors;
  for (const LineageStep& step : walk.steps) {
    const auto found = is_root.find(step.id);
    if (found != is_root.end()) ancestors.push_back({step.id, found->second});
  }
  return ancestors;
}

absl::StatusOr<LineageCheck> CheckLineage(Models& models, const ModelRecord& model,
                                          const std::vector<StorageCandidate>& candidates) {
  absl::flat_hash_set<std::string> declared;
  for (const ParentEdge& edge : model.parents()) declared.insert(edge.model_id());
  absl::flat_hash_set<std::string> ancestors;
  WDELTA_ASSIGN_OR_RETURN(const std::vector<DeclaredAncestor> ours,
                          DeclaredAncestors(models, model));
  for (const DeclaredAncestor& ancestor : ours) ancestors.insert(ancestor.id);

  double alone = std::numeric_limits<double>::infinity();
  double unrelated = alone;
  double best_declared = alone;
  const StorageCandidate* best = nullptr;
  for (const StorageCandidate& candidate : candidates) {
    const auto bytes = static_cast<double>(candidate.estimated_bytes());
    if (!IsUsable(candidate)) continue;
    if (candidate.source() == StorageCandidate::ALONE) {
      alone = bytes;
    } else if (declared.contains(candidate.model_id())) {
      best_declared = std::min(best_declared, bytes);
    } else if (!ancestors.contains(candidate.model_id())) {
      if (best == nullptr || candidate.estimated_bytes() < best->estimated_bytes()) {
        best = &candidate;
      }
      WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> other,
                              models.GetById(candidate.model_id()));
      if (!other.has_value()) continue;
      WDELTA_ASSIGN_OR_RETURN(const std::vector<DeclaredAncestor> theirs,
                              DeclaredAncestors(models, other->record));
      const bool is_descendant = std::any_of(
          theirs.begin(), theirs.end(),
          [&](const DeclaredAncestor& ancestor) { return declared.contains(ancestor.id); });
      if (!is_descendant) unrelated = std::min(unrelated, bytes);
    }
  }
  LineageCheck check;
  for (const StorageCandidate& candidate : candidates) {
    if (!declared.contains(candidate.model_id()) || !IsUsable(candidate)) continue;
    const auto bytes = static_cast<double>(candidate.estimated_bytes());
    if (bytes > kNoCloser * alone || bytes >= unrelated) {
      check.add_doubtful_parent_ids(candidate.model_id());
    }
  }
  const double otherwise = std::min(alone, best_declared);
  if (best != nullptr &&
      static_cast<double>(best->estimated_bytes()) < kClearlyCloser * otherwise) {
    check.set_suggested_parent_id(best->model_id());
    check.set_suggested_parent_name(best->name());
  }
  return check;
}

}  // namespace wdelta
