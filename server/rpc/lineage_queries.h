// The answers of wdelta.v1.Lineage. They block on storage; any thread.
#pragma once

#include "absl/status/status.h"
#include "storage/engine/model_store.h"
#include "storage/engine/records/name_check.h"
#include "wdelta/v1/lineage.pb.h"

namespace wdelta {

// Errors are those that lineage.proto states for the calls. A page token is made up by whoever
// likes: the models that it begins with must be such as `check_name` allows.
absl::Status Answer(ModelStore& store, const v1::TraverseRequest& request,
                    v1::TraverseResponse* response, const NameCheck& check_name);
absl::Status Answer(ModelStore& store, const v1::ListRootsRequest& request,
                    v1::ListRootsResponse* response, const NameCheck& check_name);
absl::Status Answer(ModelStore& store, const v1::ListLeavesRequest& request,
                    v1::ListLeavesResponse* response, const NameCheck& check_name);
absl::Status Answer(ModelStore& store, const v1::ListChildrenRequest& request,
                    v1::ListChildrenResponse* response, const NameCheck& check_name);
absl::Status Answer(ModelStore& store, const v1::FindPathRequest& request,
                    v1::FindPathResponse* response, const NameCheck& check_name);
absl::Status Answer(ModelStore& store, const v1::CommonAncestorsRequest& request,
                    v1::CommonAncestorsResponse* response, const NameCheck& check_name);

}  // namespace wdelta
