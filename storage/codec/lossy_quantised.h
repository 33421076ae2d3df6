// Chunk mode kQuantised: payloads of quantised deltas. Indices are coded in classes that
// the decoder knows beforehand, from the parent's exponent and from the scale of
// the segment (a row, mostly) that a weight lies in.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "storage/base/byte_reader.h"
#include "storage/codec/codec.h"
#include "storage/codec/entropy/run_coder.h"
#include "storage/codec/lossy_quantiser.h"
#include "storage/codec/lossy_segments.h"

namespace wdelta {

// Holds scratch memory: one thread at a time, reuse it.
class QuantisedCoder {
 public:
  // Sizes are equal and whole lanes. False when a lane is not finite or not fit for
  // the step: nothing is encoded then.
  bool Encode(DType dtype, const ChunkGeometry& geometry, absl::string_view target,
              absl::string_view parent, const LossyParams& params, std::string& payload,
              std::string& reconstructed);

  // DATA_LOSS for a payload that is not of this mode and size.
  absl::Status Decode(int lane_bytes, absl::string_view payload, absl::string_view parent,
                      char* destination, size_t size);

 private:
  void ClassifySegments(const std::vector<double>& mean_squares, double mean_square);
  // Fills classes_ and counts_.
  void FillClasses(DType dtype, const Segments& segments, const uint8_t* parent, size_t weights,
                   double step);
  absl::Status ReadSymbols(ByteReader& reader, DType dtype, double step, const Segments& segments,
                           const uint8_t* parent, size_t weights);

  LossyQuantiser quantiser_;
  RunEncoder encoder_;
  RunDecoder decoder_;
  std::vector<uint8_t> segment_classes_;
  std::vector<uint8_t> classes_;
  kernels::ClassCounts counts_{};  // of classes_
  std::vector<uint8_t> partitioned_;
  std::vector<uint8_t> symbols_;
  std::vector<uint8_t> magnitudes_;
};

}  // namespace wdelta
