#include "storage/wdelta/wdelta_file.h"

#include <algorithm>

namespace wdelta {

ChunkSpan SpanOfChunk(const WdeltaFile& file, const WdeltaStream& stream,
                      uint64_t index_in_stream) {
  ChunkSpan span;
  span.offset_bytes = index_in_stream * file.chunk_bytes;
  span.size_bytes = std::min(file.chunk_bytes, stream.info.tensor.size_bytes - span.offset_bytes);
  return span;
}

uint64_t PayloadBytesOf(const WdeltaFile& file, const WdeltaStream& stream) {
  uint64_t size_bytes = 0;
  if (stream.correction.has_value()) {
    size_bytes += FactorBytes(stream.info.tensor, stream.correction->form).value_or(0);
  }
  for (uint64_t i = 0; i < stream.chunk_count; ++i) {
    size_bytes += file.chunks[stream.first_chunk + i].payload_bytes;
  }
  return size_bytes;
}

ChunkSpan SpanInParent(ChunkSpan span, DType dtype, std::optional<DType> parent_dtype,
                       uint64_t parent_bytes) {
  if (parent_dtype.has_value()) {
    span.offset_bytes = span.offset_bytes / LaneBytes(dtype) * LaneBytes(*parent_dtype);
    span.size_bytes = span.size_bytes / LaneBytes(dtype) * LaneBytes(*parent_dtype);
  }
  span.offset_bytes = std::min(span.offset_bytes, parent_bytes);
  span.size_bytes = std::min(span.size_bytes, parent_bytes - span.offset_bytes);
  return span;
}

}  // namespace wdelta
