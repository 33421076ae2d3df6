// A chunk of a model beside the same part of its storage parent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/codec/codec.h"
#include "storage/engine/content/content_source.h"

namespace wdelta {

// Bytes [offset, offset + size) of a stream; of one chunk.
struct ChunkRef {
  uint32_t stream = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
};

// Every chunk of a stream in order; one of no bytes for an empty stream.
std::vector<ChunkRef> ChunksOfStream(uint32_t stream, uint64_t size_bytes);

// A few of the chunks of a stream, evenly spread: what they take tells what all take.
struct ChunkSample {
  std::vector<ChunkRef> chunks;
  double weight = 1;  // bytes of the stream for each byte of the sample
};
ChunkSample SampleOfStream(uint32_t stream, uint64_t size_bytes);

// Chunks of a whole model, at most `max_chunks`, evenly spread over its bytes.
struct WeightedChunk {
  ChunkRef chunk;
  double weight = 1;  // chunks of this size for which it stands
};
std::vector<WeightedChunk> SampleOfModel(const Checkpoint& checkpoint, size_t max_chunks);

ChunkGeometry GeometryOf(const TensorInfo& tensor, uint64_t offset_bytes);

// What a chunk of `tensor` is coded against, in `buffer`: the parent's bytes at its place, or its
// numbers, converted where ConvertedDType says so. Nullopt when the stream has no match, or the
// chunk lies wholly beyond its end.
absl::StatusOr<std::optional<absl::string_view>> ReadParentChunk(
    const ContentSource* parent, std::optional<uint32_t> parent_stream, const TensorInfo& tensor,
    const ChunkRef& chunk, std::string& buffer);

}  // namespace wdelta
