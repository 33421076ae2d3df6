// Whether a declared lineage is what the weights say. An advice, never a reason to refuse.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/engine/models/models.h"
#include "store/v1/records.pb.h"

namespace wdelta {

struct DeclaredAncestor {
  std::string id;
  bool is_root = false;  // has no parents
};

// The declared parents and all their ancestors, the nearest first; at most
// kMaxRelativesVisited. Those whose record is gone are left out.
absl::StatusOr<std::vector<DeclaredAncestor>> DeclaredAncestors(
    Models& models, const store::v1::ModelRecord& model);

// Judges the declared parents of a model by the estimates of its candidates, of which
// one is ALONE. A declared parent is doubtful when it is no closer than nothing at all,
// or than a model that is neither among the declared ancestors nor made from a declared
// parent. A model that is clearly closer than all declared parents is suggested.
absl::StatusOr<store::v1::LineageCheck> CheckLineage(
    Models& models, const store::v1::ModelRecord& model,
    const std::vector<store::v1::StorageCandidate>& candidates);

}  // namespace wdelta
