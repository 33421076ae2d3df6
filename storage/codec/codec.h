// Chunk codec: a run of lanes to a payload and back, bit for bit.
//
// A lane is an unsigned integer of 1, 2, 4 or 8 little-endian bytes: the bits of
// one element (of half an element for C64). Chunks are coded alone or against the
// same lanes of a parent. Payloads are specified in storage/wdelta/FORMAT.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/codec/lossy.h"
#include "storage/tensor/dtype.h"

namespace wdelta {

// Values are part of the `.wdelta` format: only ever added, never renumbered.
enum class ChunkMode : uint8_t {
  kRaw = 1,           // the bytes themselves
  kSame = 2,          // the parent's bytes; no payload
  kConst = 3,         // one lane, repeated
  kPlanes = 4,        // byte planes of the lanes, each compressed by zstd
  kDeltaPlanes = 5,   // byte planes of the zigzag difference to the parent
  kContextDelta = 6,  // differences to the parent, entropy coded by its exponent
  kDirect = 7,        // the lanes' top bits entropy coded, the rest raw
  kSparse = 8,        // the few lanes that differ from the parent's
  kScaledDelta = 9,   // context-delta whose classes know rows and columns, too
  // Lossy: what is decoded is near the bytes that were given.
  kQuantised = 16,  // indices of a trellis-coded quantiser
  kOneBit = 17,     // sign of the difference, and a scale a row
};

// DATA_LOSS for a byte that is no mode of this version.
absl::StatusOr<ChunkMode> ChunkModeFromByte(uint8_t byte);
absl::string_view ChunkModeName(ChunkMode mode);
// True when decoding needs the parent's bytes.
bool NeedsParent(ChunkMode mode);

struct LaneFormat {
  int lane_bytes = 1;           // 1, 2, 4 or 8
  bool sign_magnitude = false;  // map to monotone integers before subtracting
  int mantissa_bits = 0;        // below the exponent; 0: no classes by exponent
};
LaneFormat LaneFormatOf(DType dtype);

// Where a chunk lies in its tensor.
struct ChunkGeometry {
  uint64_t row_weights = 0;   // weights of a row, the last dimension; 0: unknown
  uint64_t first_weight = 0;  // index in the tensor of the chunk's first weight
};

struct EncodedChunk {
  ChunkMode mode = ChunkMode::kRaw;
  std::string payload;
};

struct LossyChunk {
  EncodedChunk chunk;
  std::string reconstructed;  // what decoding gives
  LossyOutcome outcome;       // of `reconstructed`; bits: of the payload
};

// Holds scratch memory and zstd contexts: one thread at a time, reuse it for many
// chunks.
class ChunkCodec {
 public:
  ChunkCodec();
  ~ChunkCodec();
  ChunkCodec(ChunkCodec&&) noexcept;
  ChunkCodec& operator=(ChunkCodec&&) noexcept;

  // Takes the mode that looks smallest; kMax tries all of them. `parent`, when given, holds the
  // parent's bytes at the positions of `target`; it may be shorter (missing bytes count as zero)
  // but not longer. Sizes need not be whole lanes: a ragged tail is coded as bytes. The payload is
  // never longer than `target`. `geometry` tells kMax of rows and columns; a wrong one costs
  // bytes, never bits of the target. INVALID_ARGUMENT: parent longer.
  absl::StatusOr<EncodedChunk> Encode(LaneFormat format, absl::string_view target,
                                      std::optional<absl::string_view> parent,
                                      Effort effort = Effort::kFast,
                                      const ChunkGeometry& geometry = {});

  // Takes the mode of params.strategy, or a lossless one where a chunk is not finite or
  // nothing is gained. `parent` is as long as `target`. INVALID_ARGUMENT: sizes
  // differ, dtype that is not CanBeLossy, params out of range.
  absl::StatusOr<LossyChunk> EncodeLossy(DType dtype, const ChunkGeometry& geometry,
                                         absl::string_view target, absl::string_view parent,
                                         const LossyParams& params);
  // The same into `chunk`, whose memory is used again; unspecified after an error.
  absl::Status EncodeLossy(DType dtype, const ChunkGeometry& geometry, absl::string_view target,
                           absl::string_view parent, const LossyParams& params, LossyChunk& chunk);

  // Fills `destination[0, size)`; `size` and `parent` as given to Encode.
  // INVALID_ARGUMENT: parent longer, or absent where the mode needs it.
  // DATA_LOSS for a payload that is not of this mode and size: nothing beyond
  // `destination` is written whatever the payload holds.
  absl::Status Decode(LaneFormat format, ChunkMode mode, absl::string_view payload,
                      std::optional<absl::string_view> parent, char* destination, size_t size);
  // Memory in which the payload of the next Decode may lie, for whoever reads it: of any size and
  // content, and used by no other call.
  std::string& payload_buffer();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wdelta
