// The model that a merge computes, as a source: as much is computed as is read.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "storage/base/digest.h"
#include "storage/engine/content/content_source.h"
#include "storage/engine/merge/merge_math.h"
#include "storage/engine/merge/merge_plan.h"
#include "store/v1/records.pb.h"

namespace wdelta {

// What is merged and how. Immutable when shared.
struct MergeInputs {
  store::v1::MergeRecipe recipe;
  // The base unless the method is LINEAR, then the sources.
  std::vector<MergeModel> models;
  MergePlan plan;
  // Of TIES, by stream of the first model, then by source (merge_math.h).
  std::vector<std::vector<uint32_t>> least_keys;
};

// Reads bytes [offset, offset + size) of a merged stream of all models, which must be whole
// elements, and gives their numbers to `take`, by model, a small run at a time with the
// offset of its first byte in what is read. Any thread; in memory are the bytes of all
// models.
absl::Status ReadNumbersOfModels(
    const MergeInputs& inputs, uint32_t stream, uint64_t offset, size_t size,
    const std::function<absl::Status(size_t at, absl::Span<const Numbers>)>& take);

struct MergedDigests {
  std::vector<Digest> files;
  std::vector<Digest> streams;
};

// Has the files and streams of the first model, with these digests; files without them where
// `digests` is empty, which is only good to find them. A read holds kChunkBytes of each
// model in memory.
ContentSourcePtr NewMergedSource(std::shared_ptr<const MergeInputs> inputs, MergedDigests digests);

}  // namespace wdelta
