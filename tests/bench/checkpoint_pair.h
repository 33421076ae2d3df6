// Two checkpoints of one architecture, in memory, tensor beside tensor.
// No state: any thread may call these functions.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/tensor/tensor_info.h"

namespace wdelta::bench {

struct LoadedTensor {
  TensorInfo info;
  std::string bytes;
};
using TensorsByName = std::map<std::string, LoadedTensor>;

// All tensors of all `.safetensors` files of a folder. NOT_FOUND when there are none.
absl::StatusOr<TensorsByName> LoadTensors(const std::string& folder);

// The values of a tensor as F32. INVALID_ARGUMENT unless it is BF16, F16 or F32.
absl::StatusOr<std::vector<float>> ToFloats(DType dtype, absl::string_view bytes);

// `values` as BF16, F16 or F32, rounded to nearest even. INVALID_ARGUMENT for
// another dtype.
absl::StatusOr<std::string> FromFloats(DType dtype, const std::vector<float>& values);

struct TensorPair {
  std::string name;
  DType dtype = DType::kU8;
  uint64_t elements = 0;
  uint64_t row_weights = 0;  // the last dimension; 0: there is but one
  std::string target;
  std::string parent;  // as long as the target, or empty: coded alone
};

struct CheckpointPair {
  std::string label;  // "ft-kjv on base"
  std::string parent_folder;
  std::string target_folder;
  std::vector<TensorPair> tensors;  // of the target, none empty
  uint64_t elements = 0;
  uint64_t bytes = 0;  // of the target's tensors
};

absl::StatusOr<CheckpointPair> LoadPair(const std::string& parent_folder,
                                        const std::string& target_folder);

// "75 tensors, BF16, 14.36 million weights, 28.7 MB, 4.3% unchanged"
std::string DescribePair(const CheckpointPair& pair);

}  // namespace wdelta::bench
