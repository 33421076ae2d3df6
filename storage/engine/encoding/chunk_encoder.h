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
#include "storage/engine/content/codec_pool.h"
#include "storage/engine/encoding/chunk_input.h"
#include "storage/engine/encoding/delta_encoder.h"
#include "storage/engine/encoding/low_rank/delta_matrix.h"

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

  absl::StatusOr<ReadChunk> Read(const ChunkRef& at) const;

  // `read`: the chunk, whose bytes are taken; null: it is read.
  absl::Status Encode(const ChunkRef& at, const CorrectionPtr& correction, ReadChunk* read,
                      ChunkResult& result);

 private:
  absl::StatusOr<std::optional<absl::string_view>> ReadParent(const ChunkRef& at,
                                                              std::string& buffer) const;
  // `bytes` of the result are there, and so is the parent, in the worker's buffer unless it is
  // nullopt.
  absl::Status EncodeOver(std::optional<absl::string_view> parent, CodecPool::Worker& worker,
                          ChunkResult& result);
  absl::Status TakeStoredIfSmaller(ChunkResult& result) const;

  const DeltaEncoderInput& input_;
  std::optional<Digest> parent_digest_;
  CodecPool codecs_;
};

}  // namespace wdelta
