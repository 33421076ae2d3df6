// Reads and encodes the chunks of one model against another.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "storage/base/digest.h"
#include "storage/codec/codec.h"
#include "storage/codec/correction.h"
#include "storage/engine/chunk_input.h"
#include "storage/engine/codec_pool.h"
#include "storage/engine/delta_encoder.h"
#include "storage/engine/low_rank/delta_matrix.h"

namespace wdelta {

struct PlannedCorrection {
  Correction correction;
  bool is_stored = false;  // it is that of the target's stored form
};
using CorrectionPtr = std::shared_ptr<const PlannedCorrection>;

struct ChunkResult {
  ChunkRef at;
  CorrectionPtr correction;  // of the stream; null: none
  std::string bytes;
  EncodedChunk encoded;
  uint64_t content_xxh3 = 0;  // of what it decodes to
  // The chunk is a whole tensor that is not encoded yet: a correction is to be looked for first.
  bool may_have_low_rank = false;
  // Only of chunks coded with loss: what they decode to, and how far that is from `bytes`.
  std::optional<std::string> reconstructed;
  DeltaMoments error;

  absl::string_view decoded() const { return reconstructed.has_value() ? *reconstructed : bytes; }
};

// Of the parent's stream where its numbers are converted.
std::optional<DType> ParentDTypeOf(const DeltaEncoderInput& input, uint32_t stream);

// Any thread may call it.
class ChunkEncoder {
 public:
  // `input` must outlive it.
  explicit ChunkEncoder(const DeltaEncoderInput& input);

  const std::optional<Digest>& parent_digest() const { return parent_digest_; }

  // Whether the target is stored against the same stream of the same parent.
  bool HasStoredParent(uint32_t stream) const;

  absl::Status Encode(const ChunkRef& at, const CorrectionPtr& correction, ChunkResult& result);
  // The same without correction, unless the chunk, which is the whole matrix, may have a low rank.
  absl::Status EncodeUnlessLowRank(const ChunkRef& at, const DeltaMatrix& matrix,
                                   ChunkResult& result);

 private:
  absl::Status EncodeOr(const ChunkRef& at, const CorrectionPtr& correction,
                        const DeltaMatrix* matrix, ChunkResult& result);
  absl::Status TakeStoredIfSmaller(ChunkResult& result) const;

  const DeltaEncoderInput& input_;
  std::optional<Digest> parent_digest_;
  CodecPool codecs_;
};

}  // namespace wdelta
