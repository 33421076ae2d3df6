// The index of contents: which READY models have tensors laid out alike, and which have
// a tensor or side file of some content. Entries are written in the commit that makes a model READY
// or moves it, and erased in the one that deletes it. It is a help to find relatives and
// bytes: models that were stored before there was an index are not in it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/base/digest.h"
#include "storage/catalog/catalog.h"
#include "storage/tensor/checkpoint.h"
#include "storage/wdelta/wdelta_file.h"
#include "store/v1/records.pb.h"

namespace wdelta {

// Equal for checkpoints whose tensors have the same names, dtypes and shapes, save for
// the first dimension, however they are spread over files. They can be compared row by
// row.
Digest LayoutDigest(const Checkpoint& checkpoint);

// Tensors of at least kMinIndexedBytes, the largest first; no more than `limit`.
std::vector<uint32_t> LargestTensors(const Checkpoint& checkpoint, size_t limit);

// Enters a model that is READY as of this commit, `file` being how it is stored, or moves
// one whose storage depth has changed.
absl::Status PutInIndex(Catalog& catalog, const store::v1::ModelRecord& model,
                        const WdeltaFile& file, Commit& commit);

// Nothing of the model remains. Harmless for one that is not in the index.
absl::Status RemoveFromIndex(Catalog& catalog, const std::string& model_id, Commit& commit);

// Ids of models with this layout, those with the shortest storage chains first, the
// oldest of them first.
absl::StatusOr<std::vector<std::string>> ModelsOfLayout(Catalog& catalog, const Digest& layout,
                                                        uint32_t limit);

struct TensorPlace {
  std::string model_id;
  uint32_t stream = 0;
};

// Models that have the tensor or side file, the oldest first.
absl::StatusOr<std::vector<TensorPlace>> PlacesOfTensor(Catalog& catalog, const Digest& digest,
                                                        uint32_t limit);

}  // namespace wdelta
