// The stored `.wdelta` files that a model is decoded from, held so that they stay.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/engine/content/reader.h"
#include "storage/engine/models/models.h"

namespace wdelta {

// The file of a READY model first, then those of the models that it is encoded against, up to a
// root; deleted models that are kept for it are among them. The blobs of each stay until its file
// is let go of. Any thread may call it.
// Errors: as Reader::HoldDelta; DATA_LOSS; UNAVAILABLE (`MODEL_REPACKED`) when it is stored anew
// again and again meanwhile.
absl::StatusOr<std::vector<HeldDelta>> HoldChain(Models& models, Reader& reader,
                                                 const std::string& model_id);

}  // namespace wdelta
