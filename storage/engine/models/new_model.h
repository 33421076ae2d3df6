// What every way to a new model has in common. Any thread may call it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/base/digest.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/models/models.h"
#include "storage/tensor/checkpoint.h"
#include "store/v1/records.pb.h"

namespace wdelta {

// What a request id was used for; nullopt when it is empty or was not used.
// INVALID_ARGUMENT (`BAD_REQUEST_ID`); ALREADY_EXISTS (`REQUEST_ID_REUSED`) when it was used
// for a request with another fingerprint.
absl::StatusOr<std::optional<store::v1::RequestRecord>> FindRequest(Catalog& catalog,
                                                                    const std::string& request_id,
                                                                    const Digest& fingerprint);

// ALREADY_EXISTS (`NAME_TAKEN`).
absl::Status CheckNameFree(Catalog& catalog, absl::string_view name, bool new_version);

// Fills what can be counted from the streams of a checkpoint.
void CountTensors(const std::vector<StreamInfo>& streams, store::v1::ModelRecord& model);

// Adds the model to a commit: its record, its name, which it takes over, its digest, and the
// edges to its parents, which must still be live, as the commit then requires. Sets its
// position among the versions of its name.
// Errors: those of Models::Resolve for a parent.
absl::Status AddNewModel(Catalog& catalog, Models& models, store::v1::ModelRecord& model,
                         Commit& commit);

}  // namespace wdelta
