// Whether a store has what its catalog names.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/blobs/blob_store.h"
#include "storage/catalog/catalog.h"

namespace wdelta {

struct StoreAudit {
  uint64_t model_count = 0;  // that are not deleted
  // Blobs and staged uploads that a model needs and that are not there.
  uint64_t problem_count = 0;
  std::string first_problem;
};

// Looks for the blobs of READY models and of the models they are encoded against, and for
// the uploads of staged ones; reads no contents. `has_staged` tells whether an upload's
// folder is there; `alive` is called often, its error ends the work.
absl::StatusOr<StoreAudit> AuditStore(Catalog& catalog, BlobStore& blobs,
                                      const std::function<bool(const std::string&)>& has_staged,
                                      const std::function<absl::Status()>& alive);

}  // namespace wdelta
