// The model that a version 1 `.wdelta` describes, computed over its parent: one file,
// model.safetensors, of float32 tensors (FORMAT_V1.md).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/engine/content/content_source.h"
#include "storage/wdelta/v1/v1_reader.h"

namespace wdelta {

struct V1Layout {
  std::string header;     // of the safetensors file: length field, JSON, padding
  Checkpoint checkpoint;  // stream 0 is the header, then the tensors; no digest yet
};

// INVALID_ARGUMENT when the file would break a limit.
absl::StatusOr<V1Layout> LayoutOfV1(const V1File& file);

// Streams of `parent` that hold the tensors of `file`, by their index there: in the
// shards of the parent's own folder, the last that has the name. FAILED_PRECONDITION
// (`WRONG_PARENT`) names a tensor that the parent lacks or has with another shape
// or a dtype without float32 values.
absl::StatusOr<std::vector<uint32_t>> FindV1Tensors(const V1File& file, const Checkpoint& parent);

// A source that reads as much of the parent and of the file as it is asked for.
// `parent_streams` is what FindV1Tensors gave; `sha256` is that of the file.
ContentSourcePtr NewV1Source(std::shared_ptr<const V1Reader> reader, V1Layout layout,
                             ContentSourcePtr parent, std::vector<uint32_t> parent_streams,
                             const Digest& sha256);

}  // namespace wdelta
