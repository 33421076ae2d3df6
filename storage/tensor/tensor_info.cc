#include "storage/tensor/tensor_info.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

absl::Status OverflowError(absl::string_view what, const std::vector<uint64_t>& shape) {
  // At most 64 dimensions, so that a hostile shape gives a short message.
  const size_t shown = std::min<size_t>(shape.size(), 64);
  return absl::InvalidArgumentError(
      absl::StrCat("shape [", absl::StrJoin(shape.begin(), shape.begin() + shown, ","),
                   "]: expected ", what, " of at most 64 bits, found overflow"));
}

}  // namespace

absl::StatusOr<uint64_t> ElementCount(const std::vector<uint64_t>& shape) {
  uint64_t count = 1;
  for (const uint64_t dimension : shape) {
    if (__builtin_mul_overflow(count, dimension, &count)) {
      return OverflowError("a number of elements", shape);
    }
  }
  return count;
}

absl::StatusOr<uint64_t> TensorBytes(DType dtype, const std::vector<uint64_t>& shape) {
  WDELTA_ASSIGN_OR_RETURN(const uint64_t count, ElementCount(shape));
  uint64_t bits = 0;
  if (__builtin_mul_overflow(count, static_cast<uint64_t>(BitsPerElement(dtype)), &bits)) {
    return OverflowError(absl::StrCat("a number of ", DTypeName(dtype), " bits"), shape);
  }
  if (bits % 8 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("shape [", absl::StrJoin(shape, ","), "]: expected ", DTypeName(dtype),
                     " elements to fill whole bytes, found ", count, " elements of ",
                     BitsPerElement(dtype), " bits"));
  }
  return bits / 8;
}

}  // namespace wdelta
