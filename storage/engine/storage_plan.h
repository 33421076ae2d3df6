// Which model a new one is encoded against, and which stream against which.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/engine/models.h"
#include "storage/tensor/checkpoint.h"

namespace wdelta {

struct StorageParent {
  std::string model_id;     // empty: none
  uint32_t depth = 0;       // of the model encoded against it: 0 without a parent
  std::string declared_id;  // the declared parent that led to it
};

// The first declared parent that is compressed, or the nearest storage ancestor of
// it that keeps the chain within kMaxStorageDepth. UNAVAILABLE
// (`PARENT_NOT_READY`) while a declared parent is still to be compressed.
absl::StatusOr<StorageParent> ChooseStorageParent(Models& models, JobQueue& jobs,
                                                  const store::v1::ModelRecord& model);

// What a READY model may be encoded against instead of its storage parent, which comes
// first: nothing, or compressed models of its declared lineage and their storage
// ancestors. None makes the model deeper in its chain than it is, since others may be
// encoded against it. At most kMaxRepackCandidates.
absl::StatusOr<std::vector<StorageParent>> RepackCandidates(Models& models,
                                                            const store::v1::ModelRecord& model);

// For every stream of `target` the stream of `parent` to encode against, if any.
// Tensors match by name when dtype is equal and the shapes are equal or differ in
// the first dimension only, so that common rows lie at equal offsets. Headers and
// side files match by path; a header also matches the only other one.
std::vector<std::optional<uint32_t>> MatchStreams(const Checkpoint& target,
                                                  const Checkpoint& parent);

}  // namespace wdelta
