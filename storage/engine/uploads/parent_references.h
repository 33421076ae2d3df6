// From the parents that a client names to the edges of a new model. Any thread may call it.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/engine/models/models.h"
#include "storage/engine/records/name_check.h"
#include "storage/engine/uploads/upload_params.h"
#include "store/v1/records.pb.h"

namespace wdelta {

// In their order. INVALID_ARGUMENT (`TOO_MANY_PARENTS`, `PARENT_TWICE`, `BAD_METADATA`), and, of
// each, errors of Models::Resolve and CheckFound.
absl::StatusOr<std::vector<store::v1::ParentEdge>> ResolveParents(
    Models& models, const std::vector<ParentReference>& parents, const NameCheck& check_name);

// The models that one with these parents may be encoded against so that what is lost tells
// nothing of models that `check_name` refuses: the parents, and what these are stored against.
absl::StatusOr<store::v1::StorageLimit> LimitToNamed(
    Models& models, const google::protobuf::RepeatedPtrField<store::v1::ParentEdge>& parents,
    const NameCheck& check_name);

}  // namespace wdelta
