// The lossy chunk modes behind one door: which coder a strategy or a mode takes.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "storage/codec/codec.h"

namespace wdelta {

// Holds scratch memory: one thread at a time, reuse it.
class LossyCoder {
 public:
  LossyCoder();
  ~LossyCoder();
  LossyCoder(LossyCoder&&) noexcept;
  LossyCoder& operator=(LossyCoder&&) noexcept;

  // Fills `chunk.reconstructed` and `chunk.outcome`, and the chunk itself where a lossy
  // mode is taken. An empty payload: the reconstructed bytes are to be coded lossless.
  // INVALID_ARGUMENT as ChunkCodec::EncodeLossy.
  absl::Status Encode(DType dtype, const ChunkGeometry& geometry, absl::string_view target,
                      absl::string_view parent, const LossyParams& params, LossyChunk& chunk);

  // `parent` holds `size` bytes. DATA_LOSS as ChunkCodec::Decode.
  absl::Status Decode(ChunkMode mode, int lane_bytes, absl::string_view payload,
                      absl::string_view parent, char* destination, size_t size);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wdelta
