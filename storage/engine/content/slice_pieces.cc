#include "storage/engine/content/slice_pieces.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

// Bytes [begin, end) of the slice from `chunk`, which begins with the first of them.
void Gather(const TensorSlice& slice, uint64_t begin, uint64_t end, const char* chunk,
            char* destination) {
  uint64_t run_left_bytes = slice.run_bytes() - begin % slice.run_bytes();
  while (begin < end) {
    const uint64_t size = std::min(run_left_bytes, end - begin);
    std::memcpy(destination, chunk, size);
    destination += size;
    begin += size;
    // Not past the last run: what lies behind it is not in `chunk`.
    if (begin < end) chunk += size + slice.gap_bytes();
    run_left_bytes = slice.run_bytes();
  }
}

}  // namespace

SlicePieces::SlicePieces(uint32_t stream, TensorSlice slice, uint64_t offset, uint64_t chunk_bytes)
    : stream_(stream), slice_(std::move(slice)), offset_(offset), chunk_bytes_(chunk_bytes) {
  uint64_t begin = offset_;
  while (begin < slice_.size_bytes()) {
    const uint64_t limit = begin + limits::kFetchPieceBytes;
    uint64_t end = std::min(EndOfChunkOf(begin), limit);
    for (uint64_t chunks = 1; chunks < limits::kMaxChunksOfSlicePiece; ++chunks) {
      if (end == slice_.size_bytes()) break;
      const uint64_t next_end = EndOfChunkOf(end);
      if (next_end > limit) break;
      end = next_end;
    }
    ends_.push_back(end);
    begin = end;
  }
}

uint64_t SlicePieces::EndOfChunkOf(uint64_t offset) const {
  const uint64_t chunk = slice_.PlaceOf(offset) / chunk_bytes_;
  return slice_.CountBefore((chunk + 1) * chunk_bytes_);
}

absl::Status SlicePieces::Read(const ContentSource& source, size_t index,
                               std::string& bytes) const {
  const uint64_t first = index == 0 ? offset_ : ends_[index - 1];
  const uint64_t end = ends_[index];
  bytes.resize(end - first);
  std::string chunk;
  for (uint64_t begin = first; begin < end;) {
    const uint64_t chunk_end = std::min(end, EndOfChunkOf(begin));
    const uint64_t place = slice_.PlaceOf(begin);
    const uint64_t span_bytes = slice_.PlaceOf(chunk_end - 1) + 1 - place;
    char* const destination = bytes.data() + (begin - first);
    if (span_bytes == chunk_end - begin) {
      WDELTA_RETURN_IF_ERROR(source.Read(stream_, place, span_bytes, destination));
    } else {
      chunk.resize(span_bytes);
      WDELTA_RETURN_IF_ERROR(source.Read(stream_, place, span_bytes, chunk.data()));
      Gather(slice_, begin, chunk_end, chunk.data(), destination);
    }
    begin = chunk_end;
  }
  return absl::OkStatus();
}

}  // namespace wdelta
