// Parents that a product of two thin matrices brings nearer: a fine-tune by adapters of low rank
// (LoRA) that were merged into the weights. Specified in storage/wdelta/FORMAT.md ("Corrected
// parents"). No state: any thread may call it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "storage/tensor/dtype.h"
#include "storage/tensor/tensor_info.h"

namespace wdelta {

struct CorrectionForm {
  uint32_t rank = 0;
  DType factor_dtype = DType::kF16;  // or F32
  bool operator==(const CorrectionForm&) const = default;
};

struct Correction {
  CorrectionForm form;
  std::string factors;  // U, then V, row by row
};

// A tensor as a matrix: the last dimension is a row's.
struct MatrixShape {
  uint64_t rows = 0;
  uint64_t columns = 0;
};

// Nullopt for a tensor that cannot have a correction: it is empty, has less than two dimensions,
// or another dtype than F16, BF16 and F32.
std::optional<MatrixShape> CorrectableShape(const TensorInfo& tensor);

// Bytes of the factors; nullopt unless the tensor can have such a correction: rank and bytes are
// bounded by limits.h, and the factors take at most a quarter of the tensor's bytes.
std::optional<uint64_t> FactorBytes(const TensorInfo& tensor, const CorrectionForm& form);

// Corrects `numbers`, whole lanes of the tensor's dtype that stand for those from `offset_bytes`
// on, in place. `factors` has FactorBytes. `scratch` may be used again.
void CorrectNumbers(const TensorInfo& tensor, const CorrectionForm& form, absl::string_view factors,
                    uint64_t offset_bytes, std::string& numbers, std::vector<float>& scratch);

}  // namespace wdelta
