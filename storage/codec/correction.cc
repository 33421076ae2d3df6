#include "storage/codec/correction.h"

#include <cstring>

#include "storage/base/limits.h"
#include "storage/codec/kernels/convert_kernels.h"
#include "storage/codec/kernels/correct_kernels.h"

namespace wdelta {
namespace {

void LoadFactors(DType dtype, const char* bytes, size_t count, float* numbers) {
  if (dtype == DType::kF32) {
    std::memcpy(numbers, bytes, count * sizeof(float));
    return;
  }
  kernels::Convert(dtype, reinterpret_cast<const uint8_t*>(bytes), DType::kF32, count,
                   reinterpret_cast<uint8_t*>(numbers));
}

}  // namespace

std::optional<MatrixShape> CorrectableShape(const TensorInfo& tensor) {
  const bool is_number =
      tensor.dtype == DType::kF16 || tensor.dtype == DType::kBF16 || tensor.dtype == DType::kF32;
  if (!is_number || tensor.shape.size() < 2 || tensor.size_bytes == 0) return std::nullopt;
  const uint64_t columns = tensor.shape.back();
  return MatrixShape{tensor.size_bytes / LaneBytes(tensor.dtype) / columns, columns};
}

std::optional<uint64_t> FactorBytes(const TensorInfo& tensor, const CorrectionForm& form) {
  const std::optional<MatrixShape> shape = CorrectableShape(tensor);
  const bool is_known = form.factor_dtype == DType::kF16 || form.factor_dtype == DType::kF32;
  if (!shape.has_value() || !is_known || form.rank == 0 || form.rank > limits::kMaxCorrectionRank ||
      shape->rows > limits::kMaxFactorBytes || shape->columns > limits::kMaxFactorBytes) {
    return std::nullopt;
  }
  const uint64_t size_bytes =
      (shape->rows + shape->columns) * form.rank * LaneBytes(form.factor_dtype);
  if (size_bytes > limits::kMaxFactorBytes || size_bytes > tensor.size_bytes / 4) {
    return std::nullopt;
  }
  return size_bytes;
}

void CorrectNumbers(const TensorInfo& tensor, const CorrectionForm& form, absl::string_view factors,
                    uint64_t offset_bytes, std::string& numbers, std::vector<float>& scratch) {
  const MatrixShape shape = *CorrectableShape(tensor);
  const size_t lane_bytes = LaneBytes(tensor.dtype);
  const size_t row_bytes = form.rank * LaneBytes(form.factor_dtype);
  const uint64_t first = offset_bytes / lane_bytes;
  kernels::CorrectedRun run;
  run.count = numbers.size() / lane_bytes;
  if (run.count == 0) return;
  run.first_column = first % shape.columns;
  run.columns = shape.columns;
  run.rank = form.rank;
  scratch.resize(run.rows() * form.rank);
  LoadFactors(form.factor_dtype, factors.data() + first / shape.columns * row_bytes, scratch.size(),
              scratch.data());
  run.u = scratch.data();
  run.v_dtype = form.factor_dtype;
  run.v = reinterpret_cast<const uint8_t*>(factors.data()) + shape.rows * row_bytes;
  kernels::Correct(tensor.dtype, run, reinterpret_cast<uint8_t*>(numbers.data()));
}

}  // namespace wdelta
