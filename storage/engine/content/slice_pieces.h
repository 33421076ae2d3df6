// The pieces of a slice whose runs lie scattered in their tensor.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "storage/engine/content/piece_plan.h"
#include "storage/tensor/tensor_slice.h"

namespace wdelta {

// Cut where chunks of the tensor end, so that each chunk that has bytes of the slice is read
// once, for one piece, and no other is read at all. A piece is gathered from at most
// kMaxChunksOfSlicePiece chunks, one of which is in memory at a time.
class SlicePieces final : public PiecePlan {
 public:
  // Of the slice's bytes from `offset` on, at most its size. `chunk_bytes` is that of the
  // source; a chunk with more than kFetchPieceBytes of the slice is read for several pieces.
  SlicePieces(uint32_t stream, TensorSlice slice, uint64_t offset, uint64_t chunk_bytes);

  size_t piece_count() const override { return ends_.size(); }
  absl::Status Read(const ContentSource& source, size_t index, std::string& bytes) const override;

 private:
  // Bytes of the slice before the end of the chunk that holds its byte `offset`.
  uint64_t EndOfChunkOf(uint64_t offset) const;

  const uint32_t stream_;
  const TensorSlice slice_;
  const uint64_t offset_;
  const uint64_t chunk_bytes_;
  std::vector<uint64_t> ends_;  // of the pieces, within the slice
};

}  // namespace wdelta
