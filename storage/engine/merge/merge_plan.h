// Which tensors of several models are merged with which.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/base/digest.h"
#include "storage/engine/content/content_source.h"

namespace wdelta {

struct MergeModel {
  std::string name;  // for errors
  ContentSourcePtr source;
  // By stream; empty while they are not known.
  std::vector<Digest> stream_digests;
};

struct MergePlan {
  // By stream of the first model: the streams that are merged, by model. Empty for a stream
  // that is taken from the first model as it is.
  std::vector<std::vector<uint32_t>> streams;
};

// The first model is the pattern of the merged one. Tensors meet by name. A tensor is merged
// when its dtype IsRounded, unless its bytes are equal in all models; all else is taken from
// the first. FAILED_PRECONDITION (`TENSOR_MISMATCH`) names model and tensor: one that a model
// lacks, has besides, or has with another dtype or shape; one whose dtype holds neither
// floats nor integers and that is not equal in all models, as far as digests are known; one
// whose name is in a model twice.
absl::StatusOr<MergePlan> PlanMerge(const std::vector<MergeModel>& models);

}  // namespace wdelta
