// Writes tensors of a model, or slices of them, into one safetensors file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"
#include "client/cpp/fetch_tensors.h"
#include "client/cpp/progress.h"
#include "storage/tensor/slice_rules.h"
#include "storage/tensor/tensor_info.h"

namespace wdelta {

struct FetchToFileOptions {
  std::vector<std::string> name_patterns;  // shell patterns; empty: all tensors
  std::vector<SliceRule> slices;           // the first that matches a tensor decides
  FetchTensorsOptions fetch;
  ProgressCallback progress;
};

struct WrittenTensor {
  TensorInfo tensor;  // with the shape and size that it has in the file
  std::optional<AxisSlice> slice;
};

struct FetchToFileResult {
  v1::Model model;
  std::vector<WrittenTensor> tensors;  // in the order of the file
  uint64_t file_bytes = 0;
};

// The file gets its name when it is whole (part_file.h); memory holds a description of the
// tensors, not their bytes. Its metadata says `format: pt`, as loaders expect, and the model.
// Errors: the server's; NOT_FOUND (`NO_TENSOR_MATCHES`); INVALID_ARGUMENT (`DUPLICATE_TENSOR`,
// two files of the model have tensors of one name; as SliceOf and ValidateSliceRule); those of
// FetchTensors and PartFile.
absl::StatusOr<FetchToFileResult> FetchToFile(Client& client, const std::string& model,
                                              const std::string& file_name,
                                              const FetchToFileOptions& options = {});

}  // namespace wdelta
