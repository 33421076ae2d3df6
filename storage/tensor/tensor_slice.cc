#include "storage/tensor/tensor_slice.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

absl::Status SliceError(absl::StatusCode code, absl::string_view reason, const TensorInfo& tensor,
                        absl::string_view what) {
  return MakeError(code, reason,
                   absl::StrCat("tensor '", absl::CHexEscape(tensor.name), "': ", what),
                   {{"tensor", tensor.name}});
}

absl::Status CheckPart(const TensorInfo& tensor, const AxisSlice& part) {
  if (part.axis >= tensor.shape.size()) {
    return SliceError(
        absl::StatusCode::kInvalidArgument, "BAD_SLICE", tensor,
        absl::StrCat("expected an axis below ", tensor.shape.size(), ", found ", part.axis));
  }
  const uint64_t length = tensor.shape[part.axis];
  if (std::max(part.start, part.stop) > length) {
    return SliceError(absl::StatusCode::kOutOfRange, "SLICE_PAST_END", tensor,
                      absl::StrCat("axis ", part.axis, " has ", length,
                                   " positions: expected a slice within them, found [", part.start,
                                   ", ", part.stop, ")"));
  }
  if (part.start > part.stop) {
    return SliceError(
        absl::StatusCode::kInvalidArgument, "BAD_SLICE", tensor,
        absl::StrCat("expected a stop of at least the start ", part.start, ", found ", part.stop));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TensorSlice> TensorSlice::Make(const TensorInfo& tensor, const AxisSlice& part) {
  WDELTA_RETURN_IF_ERROR(CheckPart(tensor, part));
  const absl::StatusOr<uint64_t> total_bytes = TensorBytes(tensor.dtype, tensor.shape);
  if (!total_bytes.ok())
    return Annotate(total_bytes.status(), absl::StrCat("tensor ", tensor.name));
  TensorSlice slice;
  slice.part_ = part;
  slice.shape_ = tensor.shape;
  slice.shape_[part.axis] = part.stop - part.start;
  // Where a dimension is zero, the product of those behind it may be anything.
  if (*total_bytes == 0 || part.start == part.stop) return slice;
  // From here on every product is one of dimensions that are not zero, and no more than the
  // bits of the tensor, which TensorBytes has found to fit.
  auto position_bits = static_cast<uint64_t>(BitsPerElement(tensor.dtype));
  for (size_t i = part.axis + 1; i < tensor.shape.size(); ++i) position_bits *= tensor.shape[i];
  const uint64_t block_bits = position_bits * tensor.shape[part.axis];
  const uint64_t run_begin_bits = position_bits * part.start;
  const uint64_t run_bits = position_bits * (part.stop - part.start);
  const uint64_t runs = *total_bytes * 8 / block_bits;
  if (run_begin_bits % 8 != 0 || run_bits % 8 != 0 || (runs > 1 && block_bits % 8 != 0)) {
    return SliceError(
        absl::StatusCode::kInvalidArgument, "SLICE_SPLITS_BYTE", tensor,
        absl::StrCat("elements of ", BitsPerElement(tensor.dtype), " bits: expected positions of ",
                     "axis ", part.axis, " that begin and end with a byte, found [", part.start,
                     ", ", part.stop, ")"));
  }
  slice.block_bytes_ = block_bits / 8;
  slice.run_begin_bytes_ = run_begin_bits / 8;
  slice.run_bytes_ = run_bits / 8;
  slice.size_bytes_ = runs * slice.run_bytes_;
  return slice;
}

uint64_t TensorSlice::PlaceOf(uint64_t offset) const {
  return offset / run_bytes_ * block_bytes_ + run_begin_bytes_ + offset % run_bytes_;
}

uint64_t TensorSlice::CountBefore(uint64_t place) const {
  if (size_bytes_ == 0) return 0;
  const uint64_t in_block = place % block_bytes_;
  const uint64_t in_run = std::min(run_bytes_, in_block - std::min(in_block, run_begin_bytes_));
  return std::min(size_bytes_, place / block_bytes_ * run_bytes_ + in_run);
}

}  // namespace wdelta
