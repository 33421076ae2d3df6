// What corrections would leave of a tensor's payload, told by a few of its lanes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/codec/correction.h"
#include "storage/engine/encoding/low_rank/delta_matrix.h"

namespace wdelta {

// Lanes of up to four chunks, with what those take without a correction. One thread at a time.
class ShareEstimate {
 public:
  // Reads the chunks. `tensor` is the matrix's, whole where the matrix is the FirstRows of it.
  static absl::StatusOr<ShareEstimate> Of(const DeltaMatrix& matrix, const TensorInfo& tensor);

  // About what a lane takes, at least a little.
  double bits_a_lane() const { return bits_a_lane_; }

  // Of the payload's bytes, with those of the correction, whose factors are the whole tensor's.
  double With(const Correction& correction);

 private:
  // Neighbouring lanes of one row.
  struct Block {
    uint64_t first = 0;  // in the tensor
    uint64_t count = 0;
  };
  // Of one chunk.
  struct Sample {
    std::vector<Block> blocks;
    std::string target;  // block by block
    std::string parent;
  };

  ShareEstimate(const TensorInfo& tensor, uint64_t columns) : tensor_(tensor), columns_(columns) {}
  absl::Status Add(const DeltaMatrix& matrix, uint64_t first, uint64_t count, DeltaRun& run);
  double BitsOf(const std::string& target, const std::string& parent) const;

  TensorInfo tensor_;
  uint64_t columns_ = 0;
  std::vector<Sample> samples_;
  double bits_a_lane_ = 0;
  std::string corrected_;  // scratch
  std::string block_;
  std::vector<float> factors_;
};

}  // namespace wdelta
