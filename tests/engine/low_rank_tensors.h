// Weights, and fine-tunes of them whose difference has a low rank beside that of rounding.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "storage/codec/converted_parent.h"
#include "storage/tensor/dtype.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta::testing {

inline constexpr char kPath[] = "model.safetensors";

inline std::string Lanes(const std::vector<float>& numbers, DType dtype) {
  std::string bytes(reinterpret_cast<const char*>(numbers.data()), 4 * numbers.size());
  if (dtype == DType::kF32) return bytes;
  std::string lanes;
  ConvertNumbers(DType::kF32, bytes, dtype, lanes);
  return lanes;
}

inline std::vector<float> Numbers(const TestTensor& tensor) {
  std::string bytes = tensor.data;
  if (tensor.dtype != DType::kF32) ConvertNumbers(tensor.dtype, tensor.data, DType::kF32, bytes);
  std::vector<float> numbers(bytes.size() / 4);
  std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return numbers;
}

inline std::vector<float> Normal(size_t count, float deviation, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> numbers(count);
  for (float& number : numbers) number = normal(random);
  return numbers;
}

inline TestTensor Weights(DType dtype, uint64_t rows, uint64_t columns, uint32_t seed) {
  return {"w", dtype, {rows, columns}, Lanes(Normal(rows * columns, 0.02f, seed), dtype)};
}

// Plus a product of rank `rank` whose numbers deviate by `deviation`, as `dtype`.
inline TestTensor Merged(const TestTensor& base, uint32_t rank, float deviation, DType dtype) {
  const size_t rows = base.shape[0];
  const size_t columns = base.shape[1];
  const float each = std::sqrt(deviation / std::sqrt(static_cast<float>(rank)));
  const std::vector<float> up = Normal(rows * rank, each, 11);
  const std::vector<float> down = Normal(rank * columns, each, 12);
  std::vector<float> numbers = Numbers(base);
  std::vector<float> row(columns);
  for (size_t i = 0; i < rows; ++i) {
    std::fill(row.begin(), row.end(), 0.0f);
    for (size_t k = 0; k < rank; ++k) {
      for (size_t j = 0; j < columns; ++j) row[j] += up[i * rank + k] * down[k * columns + j];
    }
    for (size_t j = 0; j < columns; ++j) numbers[i * columns + j] += row[j];
  }
  return {base.name, dtype, base.shape, Lanes(numbers, dtype)};
}

// Plus independent numbers.
inline TestTensor Noised(const TestTensor& base, float deviation, uint32_t seed) {
  std::vector<float> numbers = Numbers(base);
  const std::vector<float> noise = Normal(numbers.size(), deviation, seed);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] += noise[i];
  return {base.name, base.dtype, base.shape, Lanes(numbers, base.dtype)};
}

}  // namespace wdelta::testing
