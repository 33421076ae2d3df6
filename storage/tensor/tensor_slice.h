// A part of a tensor along one axis: where its bytes lie within the tensor's.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/tensor/tensor_info.h"

namespace wdelta {

// Positions [start, stop) of an axis.
struct AxisSlice {
  uint32_t axis = 0;
  uint64_t start = 0;
  uint64_t stop = 0;

  bool operator==(const AxisSlice&) const = default;
};

// In row-major order a slice is runs of equal length at equal distances: one for each place
// in the axes before its own. Immutable; any thread may call it.
class TensorSlice {
 public:
  // `tensor.size_bytes` need not be set. OUT_OF_RANGE (`SLICE_PAST_END`); INVALID_ARGUMENT
  // (`BAD_SLICE`: no such axis, stop before start; `SLICE_SPLITS_BYTE`: elements of less than
  // a byte, of which a run does not fill whole bytes). Errors name the tensor.
  static absl::StatusOr<TensorSlice> Make(const TensorInfo& tensor, const AxisSlice& part);

  const AxisSlice& part() const { return part_; }
  const std::vector<uint64_t>& shape() const { return shape_; }
  uint64_t size_bytes() const { return size_bytes_; }
  uint64_t run_bytes() const { return run_bytes_; }
  // From the end of a run to the begin of the next.
  uint64_t gap_bytes() const { return block_bytes_ - run_bytes_; }
  bool is_contiguous() const { return size_bytes_ == run_bytes_ || gap_bytes() == 0; }

  // Where byte `offset` of the slice lies within the tensor; `offset` < size_bytes().
  uint64_t PlaceOf(uint64_t offset) const;
  // How many bytes of the slice lie before byte `place` of the tensor.
  uint64_t CountBefore(uint64_t place) const;

 private:
  TensorSlice() = default;

  AxisSlice part_;
  std::vector<uint64_t> shape_;
  uint64_t size_bytes_ = 0;
  // Of nothing when the slice is empty.
  uint64_t block_bytes_ = 0;      // from run to run
  uint64_t run_begin_bytes_ = 0;  // within a block
  uint64_t run_bytes_ = 0;
};

}  // namespace wdelta
