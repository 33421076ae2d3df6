// `.wdelta` version 1, the format of deltatensors: what a file says beside its
// arrays. The bytes are specified in FORMAT_V1.md.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/base/digest.h"

namespace wdelta {

inline constexpr uint32_t kV1Version = 1;

enum class V1Strategy : uint8_t { kSparse, kQuantized, kInt4 };

// `sparse`, `quantized`, `int4`.
absl::string_view V1StrategyName(V1Strategy strategy);
// INVALID_ARGUMENT for another name.
absl::StatusOr<V1Strategy> ParseV1Strategy(absl::string_view name);

struct V1Array {
  uint64_t offset_bytes = 0;  // of its data, from the start of the file
  uint64_t length = 0;        // elements
};

inline constexpr size_t kMaxV1Arrays = 5;

struct V1Tensor {
  std::string name;
  V1Strategy strategy = V1Strategy::kInt4;
  std::vector<uint64_t> shape;
  uint64_t element_count = 0;
  uint64_t outlier_count = 0;  // int4
  uint64_t row_elements = 0;   // quantized: elements that share a scale
  float scale = 0;             // int4
  float zero_point = 0;        // int4
  // In the order of FORMAT_V1.md, as many as the strategy has.
  std::array<V1Array, kMaxV1Arrays> arrays;
  uint64_t stored_bytes = 0;  // data of all arrays
};

struct V1File {
  Digest parent_hash;
  V1Strategy strategy = V1Strategy::kInt4;
  std::vector<V1Tensor> tensors;  // in order of the header
  // Indices of `tensors`, in the order in which the file holds their first arrays.
  std::vector<uint32_t> stored_order;
  uint64_t file_bytes = 0;
};

// Where a parent keeps a tensor, for the order in which it is hashed.
struct V1Place {
  std::string name;
  std::string shard;
};
// Hash order of FORMAT_V1.md as indices of `places`, whose names differ.
std::vector<uint32_t> V1HashOrder(const std::vector<V1Place>& places);

}  // namespace wdelta
