// What is known of a tensor without its values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/tensor/dtype.h"

namespace wdelta {

struct TensorInfo {
  std::string name;
  DType dtype = DType::kU8;
  std::vector<uint64_t> shape;  // row-major; empty: one element
  uint64_t offset_bytes = 0;    // from the start of its file
  uint64_t size_bytes = 0;
};

// Product of the dimensions, multiplied in order. INVALID_ARGUMENT when a step
// exceeds 64 bits, as in safetensors, even where a later dimension is zero.
absl::StatusOr<uint64_t> ElementCount(const std::vector<uint64_t>& shape);
// INVALID_ARGUMENT on overflow, or when the bits do not fill whole bytes.
absl::StatusOr<uint64_t> TensorBytes(DType dtype, const std::vector<uint64_t>& shape);

}  // namespace wdelta
