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

}  // namespace wdelta
