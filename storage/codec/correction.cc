#include "storage/codec/correction.h"

#include <algorithm>
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
  const size_t factor_lane_bytes = LaneBytes(form.factor_dtype);
  const size_t rank = form.rank;
  const uint64_t first = offset_bytes / lane_bytes;
  const uint64_t count = numbers.size() / lane_bytes;
  if (count == 0) return;
  const uint64_t first_row = first / shape.columns;
  const uint64_t rows = (first + count - 1) / shape.columns + 1 - first_row;
  // Within one row, only what stands above its run is wanted of V.
  const uint64_t v_begin = rows == 1 ? first % shape.columns : 0;
  const uint64_t v_width = rows == 1 ? count : shape.columns;
  const size_t v_count = rank * v_width;
  scratch.resize(v_count + rows * rank);
  float* const v = scratch.data();
  float* const u = v + v_count;
  const char* const v_bytes = factors.data() + shape.rows * rank * factor_lane_bytes;
  for (size_t k = 0; k < rank; ++k) {
    LoadFactors(form.factor_dtype, v_bytes + (k * shape.columns + v_begin) * factor_lane_bytes,
                v_width, v + k * v_width);
  }
  LoadFactors(form.factor_dtype, factors.data() + first_row * rank * factor_lane_bytes, rows * rank,
              u);
  auto* lanes = reinterpret_cast<uint8_t*>(numbers.data());
  uint64_t column = first % shape.columns;
  uint64_t left = count;
  for (uint64_t row = 0; row < rows; ++row) {
    const uint64_t run = std::min(left, shape.columns - column);
    kernels::CorrectRow(tensor.dtype, {u + row * rank, v + (column - v_begin), rank, v_width}, run,
                        lanes);
    lanes += run * lane_bytes;
    left -= run;
    column = 0;
  }
}

}  // namespace wdelta
