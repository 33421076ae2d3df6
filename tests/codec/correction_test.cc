// Corrected numbers: against a slow computation that is written from FORMAT.md, and twins of the
// kernels against each other.
#include "storage/codec/correction.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "hwy/targets.h"
#include "storage/base/limits.h"
#include "storage/codec/converted_parent.h"
#include "storage/codec/kernels/convert_kernels.h"
#include "storage/codec/kernels/correct_kernels.h"

namespace wdelta {
namespace {

constexpr DType kDTypes[] = {DType::kF16, DType::kBF16, DType::kF32};

TensorInfo Tensor(DType dtype, std::vector<uint64_t> shape) {
  TensorInfo tensor{"w", dtype, std::move(shape), 0, 0};
  tensor.size_bytes = TensorBytes(tensor.dtype, tensor.shape).value();
  return tensor;
}

std::string ToLanes(const std::vector<float>& numbers, DType dtype) {
  std::string bytes(reinterpret_cast<const char*>(numbers.data()), 4 * numbers.size());
  if (dtype == DType::kF32) return bytes;
  std::string lanes;
  ConvertNumbers(DType::kF32, bytes, dtype, lanes);
  return lanes;
}

std::vector<float> ToNumbers(const std::string& lanes, DType dtype) {
  std::string bytes = lanes;
  if (dtype != DType::kF32) ConvertNumbers(dtype, lanes, DType::kF32, bytes);
  std::vector<float> numbers(bytes.size() / 4);
  std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return numbers;
}

std::vector<float> Normal(std::mt19937& random, size_t count, float deviation) {
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> numbers(count);
  for (float& number : numbers) number = normal(random);
  return numbers;
}

// Every operation rounded to binary32 by way of memory.
float Rounded(double exact) {
  volatile float rounded = static_cast<float>(exact);
  return rounded;
}

std::string SlowlyCorrected(const TensorInfo& tensor, const Correction& correction,
                            const std::string& lanes) {
  const size_t columns = tensor.shape.back();
  const size_t rank = correction.form.rank;
  const std::vector<float> numbers = ToNumbers(lanes, tensor.dtype);
  const std::vector<float> factors = ToNumbers(correction.factors, correction.form.factor_dtype);
  const size_t rows = numbers.size() / columns;
  const size_t lane_bytes = lanes.size() / numbers.size();
  std::string out;
  for (size_t i = 0; i < numbers.size(); ++i) {
    float sum = 0;
    for (size_t k = 0; k < rank; ++k) {
      const double u = factors[i / columns * rank + k];
      const double v = factors[rows * rank + k * columns + i % columns];
      // The product of two floats is exact in a double, and the sum of two is rounded to the
      // same float by way of one.
      sum = Rounded(static_cast<double>(sum) + Rounded(u * v));
    }
    const float corrected = Rounded(static_cast<double>(numbers[i]) + sum);
    out += std::isfinite(corrected) ? ToLanes({corrected}, tensor.dtype)
                                    : lanes.substr(i * lane_bytes, lane_bytes);
  }
  return out;
}

TEST(CorrectionTest, IsWhatTheFormatSays) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (const DType dtype : kDTypes) {
    for (const DType factor_dtype : {DType::kF16, DType::kF32}) {
      for (const uint32_t rank : {1u, 5u, 64u}) {
        const TensorInfo tensor = Tensor(dtype, {3, 97, 201});
        const size_t rows = size_t{3} * 97;
        std::vector<float> parent = Normal(random, rows * 201, 0.02f);
        for (const float wild : {INFINITY, -INFINITY, NAN, 0.0f, -0.0f, 1e-41f, 65504.0f}) {
          parent[random() % parent.size()] = wild;
        }
        std::vector<float> factors = Normal(random, (rows + 201) * rank, 0.05f);
        factors[random() % factors.size()] = NAN;
        factors[random() % factors.size()] = 1e20f;
        const Correction correction{{rank, factor_dtype}, ToLanes(factors, factor_dtype)};
        const std::string lanes = ToLanes(parent, dtype);
        const std::string expected = SlowlyCorrected(tensor, correction, lanes);
        std::vector<float> scratch;
        std::string all = lanes;
        CorrectNumbers(tensor, correction.form, correction.factors, 0, all, scratch);
        EXPECT_TRUE(all == expected) << DTypeName(dtype) << ", rank " << rank;
        for (int i = 0; i < 20; ++i) {
          const size_t lane_bytes = LaneBytes(dtype);
          const size_t first = random() % parent.size();
          const size_t count = 1 + random() % std::min<size_t>(parent.size() - first, 1000);
          std::string part = lanes.substr(first * lane_bytes, count * lane_bytes);
          CorrectNumbers(tensor, correction.form, correction.factors, first * lane_bytes, part,
                         scratch);
          EXPECT_TRUE(part == expected.substr(first * lane_bytes, part.size())) << first;
        }
      }
    }
  }
}

struct OwnedRun {
  kernels::CorrectedRun run;
  std::vector<float> u;
  std::string v;
};

OwnedRun RandomRun(std::mt19937& random, size_t columns, DType v_dtype) {
  OwnedRun owned;
  kernels::CorrectedRun& run = owned.run;
  run.columns = columns;
  run.rank = 1 + random() % limits::kMaxCorrectionRank;
  run.first_column = random() % columns;
  run.count = 1 + random() % (12 * columns);
  owned.u = Normal(random, run.rows() * run.rank, 0.1f);
  std::vector<float> v = Normal(random, run.rank * columns, 0.1f);
  for (const float wild : {INFINITY, -0.0f, NAN, 1e-7f}) v[random() % v.size()] = wild;
  owned.v = ToLanes(v, v_dtype);
  run.u = owned.u.data();
  run.v_dtype = v_dtype;
  run.v = reinterpret_cast<const uint8_t*>(owned.v.data());
  return owned;
}

TEST(CorrectionTest, TwinsGiveTheSameBytes) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (const DType dtype : kDTypes) {
    for (const size_t columns : {1, 3, 63, 64, 65, 129, 1000}) {
      for (const DType v_dtype : {DType::kF16, DType::kF32}) {
        const OwnedRun owned = RandomRun(random, columns, v_dtype);
        const kernels::CorrectedRun& run = owned.run;
        std::string lanes(run.count * LaneBytes(dtype), '\0');
        for (char& byte : lanes) byte = static_cast<char>(random());
        std::string twin = lanes;
        kernels::portable::Correct(dtype, run, reinterpret_cast<uint8_t*>(twin.data()));
        for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
          hwy::SetSupportedTargetsForTest(target);
          hwy::GetChosenTarget().DeInit();
          std::string corrected = lanes;
          kernels::Correct(dtype, run, reinterpret_cast<uint8_t*>(corrected.data()));
          EXPECT_TRUE(corrected == twin)
              << hwy::TargetName(target) << ", " << DTypeName(dtype) << ", " << run.count
              << " from " << run.first_column << " of " << columns;
        }
        hwy::SetSupportedTargetsForTest(0);
        hwy::GetChosenTarget().DeInit();
      }
    }
  }
}

TEST(CorrectionTest, FactorsAreBounded) {
  const TensorInfo tensor = Tensor(DType::kBF16, {2, 512, 1024});
  EXPECT_EQ(FactorBytes(tensor, {8, DType::kF16}), 2048u * 8 * 2);
  EXPECT_EQ(FactorBytes(tensor, {64, DType::kF16}), 2048u * 64 * 2);
  EXPECT_EQ(FactorBytes(tensor, {0, DType::kF16}), std::nullopt);
  EXPECT_EQ(FactorBytes(tensor, {65, DType::kF16}), std::nullopt);
  EXPECT_EQ(FactorBytes(tensor, {8, DType::kBF16}), std::nullopt);
  EXPECT_EQ(FactorBytes(Tensor(DType::kF64, {512, 512}), {8, DType::kF16}), std::nullopt);
  EXPECT_EQ(FactorBytes(Tensor(DType::kI16, {512, 512}), {8, DType::kF16}), std::nullopt);
  EXPECT_EQ(FactorBytes(Tensor(DType::kBF16, {1 << 18}), {8, DType::kF16}), std::nullopt);
  EXPECT_EQ(FactorBytes(Tensor(DType::kBF16, {512, 0}), {8, DType::kF16}), std::nullopt);
  EXPECT_EQ(FactorBytes(Tensor(DType::kBF16, {0, 512}), {8, DType::kF16}), std::nullopt);
  // More than a quarter of the tensor; more than any may take.
  EXPECT_EQ(FactorBytes(Tensor(DType::kBF16, {64, 64}), {9, DType::kF16}), std::nullopt);
  EXPECT_EQ(FactorBytes(Tensor(DType::kF32, {1 << 20, 1 << 10}), {8, DType::kF16}), std::nullopt);
  TensorInfo huge = Tensor(DType::kF32, {uint64_t{1} << 29, uint64_t{1} << 29});
  EXPECT_EQ(FactorBytes(huge, {64, DType::kF32}), std::nullopt);
}

}  // namespace
}  // namespace wdelta
