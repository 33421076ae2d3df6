#include "storage/engine/encoding/chunk_input.h"

#include <algorithm>

#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/codec/converted_parent.h"
#include "storage/engine/encoding/storage_plan.h"
#include "storage/wdelta/wdelta_file.h"

namespace wdelta {
namespace {

constexpr size_t kSampleEvery = 16;

}  // namespace

std::vector<ChunkRef> ChunksOfStream(uint32_t stream, uint64_t size_bytes) {
  std::vector<ChunkRef> chunks;
  uint64_t offset = 0;
  do {
    const uint64_t size = std::min(size_bytes - offset, limits::kChunkBytes);
    chunks.push_back({stream, offset, size});
    offset += size;
  } while (offset < size_bytes);
  return chunks;
}

ChunkSample SampleOfStream(uint32_t stream, uint64_t size_bytes) {
  const std::vector<ChunkRef> all = ChunksOfStream(stream, size_bytes);
  ChunkSample sample;
  uint64_t sampled_bytes = 0;
  for (size_t i = all.size() < kSampleEvery ? all.size() / 2 : kSampleEvery / 2; i < all.size();
       i += kSampleEvery) {
    sample.chunks.push_back(all[i]);
    sampled_bytes += all[i].size;
  }
  if (sampled_bytes > 0) {
    sample.weight = static_cast<double>(size_bytes) / static_cast<double>(sampled_bytes);
  }
  return sample;
}

std::vector<WeightedChunk> SampleOfModel(const Checkpoint& checkpoint, size_t max_chunks) {
  uint64_t total_bytes = 0;
  uint64_t total_chunks = 0;
  for (const StreamInfo& stream : checkpoint.streams) {
    total_bytes += stream.tensor.size_bytes;
    total_chunks += (stream.tensor.size_bytes + limits::kChunkBytes - 1) / limits::kChunkBytes;
  }
  std::vector<WeightedChunk> sample;
  const bool take_all = total_chunks <= max_chunks;
  const double stride = static_cast<double>(total_bytes) / static_cast<double>(max_chunks);
  double end = 0;            // of the chunk, in the bytes of all streams
  double next = stride / 2;  // the chunk that has this byte is the next of the sample
  for (uint32_t i = 0; i < checkpoint.streams.size(); ++i) {
    const uint64_t size_bytes = checkpoint.streams[i].tensor.size_bytes;
    for (uint64_t offset = 0; offset < size_bytes; offset += limits::kChunkBytes) {
      const uint64_t size = std::min(size_bytes - offset, limits::kChunkBytes);
      end += static_cast<double>(size);
      WeightedChunk chunk{{i, offset, size}, 0};
      for (; !take_all && next < end; next += stride) {
        chunk.weight += stride / static_cast<double>(size);
      }
      if (take_all) chunk.weight = 1;
      if (chunk.weight > 0) sample.push_back(chunk);
    }
  }
  return sample;
}

ChunkGeometry GeometryOf(const TensorInfo& tensor, uint64_t offset_bytes) {
  ChunkGeometry geometry;
  if (tensor.shape.size() >= 2) geometry.row_weights = tensor.shape.back();
  geometry.first_weight = offset_bytes * 8 / BitsPerElement(tensor.dtype);
  return geometry;
}

absl::StatusOr<std::optional<absl::string_view>> ReadParentChunk(
    const ContentSource* parent, std::optional<uint32_t> parent_stream, const TensorInfo& tensor,
    const ChunkRef& chunk, std::string& buffer) {
  if (parent == nullptr || !parent_stream.has_value()) return std::optional<absl::string_view>();
  const TensorInfo& other = parent->checkpoint().streams[*parent_stream].tensor;
  const std::optional<DType> converted = ConvertedDType(tensor, other);
  const ChunkSpan span =
      SpanInParent({chunk.offset, chunk.size}, tensor.dtype, converted, other.size_bytes);
  if (span.size_bytes == 0) return std::optional<absl::string_view>();
  std::string numbers;
  std::string& bytes = converted.has_value() ? numbers : buffer;
  bytes.resize(span.size_bytes);
  WDELTA_RETURN_IF_ERROR(
      parent->Read(*parent_stream, span.offset_bytes, span.size_bytes, bytes.data()));
  if (converted.has_value()) ConvertNumbers(*converted, numbers, tensor.dtype, buffer);
  return std::optional<absl::string_view>(buffer);
}

}  // namespace wdelta
