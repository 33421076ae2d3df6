// Which model a new one is encoded against, and which stream against which.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "storage/base/digest.h"
#include "storage/engine/content/content_source.h"
#include "storage/tensor/checkpoint.h"

namespace wdelta {

struct StorageParent {
  std::string model_id;   // empty: none
  uint32_t depth = 0;     // of the model encoded against it: 0 without a parent
  double fetch_cost = 0;  // of the parent: bytes decoded for each byte served
  // The declared parent whose delta is meant where loss is asked for; otherwise the one
  // that led to the choice. Empty: none.
  std::string declared_id;
};

// For every stream of `target` the stream of `parent` to encode against, if any.
// Tensors match by name when the dtypes are equal, or one CanConvert to the other, and the
// shapes are equal or differ in the first dimension only, so that common rows have equal
// indices. Headers and
// side files match by path; a header also matches the only other one.
std::vector<std::optional<uint32_t>> MatchStreams(const Checkpoint& target,
                                                  const Checkpoint& parent);

// Likewise, but by content first: a tensor that was moved, renamed or tied is matched
// with the one of equal bytes, wherever the parent has it. Of tied tensors, those that the
// parent does not know by name follow the one that it knows. `target_digests`: by stream.
std::vector<std::optional<uint32_t>> MatchContents(const Checkpoint& target,
                                                   const std::vector<Digest>& target_digests,
                                                   const ContentSource& parent);

// Equal, or the parent's numbers can be converted.
bool DTypesMatch(const TensorInfo& target, const TensorInfo& parent);

// The dtype of the parent's tensor, where matched tensors are coded against its converted
// numbers: where they CanConvert. Nullopt: against its bytes.
std::optional<DType> ConvertedDType(const TensorInfo& target, const TensorInfo& parent);

}  // namespace wdelta
