// Chunk mode kOneBit: the sign of every delta and one scale a row, after J. Liu et al.,
// "BitDelta" (arXiv:2402.10193), without calibration: the scale is the mean magnitude
// of the row, which has the least squared error.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "storage/codec/codec.h"
#include "storage/codec/entropy/run_coder.h"
#include "storage/codec/lossy_segments.h"

namespace wdelta {

// Holds scratch memory: one thread at a time, reuse it.
class OneBitCoder {
 public:
  // False when a lane is not finite: nothing is encoded then.
  bool Encode(DType dtype, const ChunkGeometry& geometry, absl::string_view target,
              absl::string_view parent, const LossyParams& params, std::string& payload,
              std::string& reconstructed);

  // DATA_LOSS for a payload that is not of this mode and size.
  absl::Status Decode(int lane_bytes, absl::string_view payload, absl::string_view parent,
                      char* destination, size_t size);

 private:
  void Reconstruct(DType dtype, const Segments& segments, const uint8_t* parent, size_t weights,
                   char* destination) const;

  RunEncoder encoder_;
  RunDecoder decoder_;
  // Low bytes of the scales (BF16), their high bytes, then the signs, eight a byte.
  std::vector<uint8_t> symbols_;
};

}  // namespace wdelta
