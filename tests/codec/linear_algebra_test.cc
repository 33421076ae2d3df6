#include "storage/codec/linear_algebra.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "hwy/targets.h"
#include "storage/codec/kernels/range_kernels.h"

namespace wdelta {
namespace {

ThinMatrix Random(std::mt19937& random, size_t rows, size_t width) {
  std::normal_distribution<float> normal(0, 1);
  ThinMatrix matrix(rows, width);
  for (float& number : matrix.numbers) number = normal(random);
  return matrix;
}

TEST(LinearAlgebraTest, ColumnsBecomeOrthonormal) {
  std::mt19937 random(1);
  ThinMatrix matrix = Random(random, 301, 13);
  // Two columns that say nothing new.
  for (size_t i = 0; i < matrix.rows; ++i) {
    matrix.row(i)[5] = matrix.row(i)[1] - 3 * matrix.row(i)[2];
    matrix.row(i)[7] = 0;
  }
  const ThinMatrix before = matrix;
  Orthonormalise(matrix);
  const std::vector<double> gram = Gram(matrix);
  for (size_t p = 0; p < 13; ++p) {
    for (size_t q = 0; q < 13; ++q) {
      EXPECT_NEAR(gram[p * 13 + q], p == q && p != 5 && p != 7 ? 1 : 0, 1e-6) << p << ", " << q;
    }
  }
  // Each is still spanned by those up to it.
  for (size_t k = 0; k < 13; ++k) {
    double square = 0;
    double explained = 0;
    for (size_t i = 0; i < before.rows; ++i) square += std::pow(before.row(i)[k], 2);
    for (size_t p = 0; p <= k; ++p) {
      double along = 0;
      for (size_t i = 0; i < before.rows; ++i) along += before.row(i)[k] * matrix.row(i)[p];
      explained += along * along;
    }
    EXPECT_NEAR(explained, square, 1e-4 * square) << k;
  }
}

// What remains of a column is far below its square, as of rows of a matrix of low rank.
TEST(LinearAlgebraTest, ColumnsThatAreNearlyDependentBecomeOrthonormal) {
  std::mt19937 random(6);
  for (const float noise : {1e-1f, 1e-3f, 1e-5f}) {
    const ThinMatrix left = Random(random, 500, 3);
    ThinMatrix matrix = Times(left, Random(random, 3, 16).numbers.data(), 16);
    const ThinMatrix noises = Random(random, 500, 16);
    for (size_t i = 0; i < matrix.numbers.size(); ++i) {
      matrix.numbers[i] += noise * noises.numbers[i];
    }
    Orthonormalise(matrix);
    const std::vector<double> gram = Gram(matrix);
    for (size_t p = 0; p < 16; ++p) {
      for (size_t q = 0; q < 16; ++q) {
        EXPECT_NEAR(gram[p * 16 + q], p == q ? 1 : 0, 2e-6) << noise << ": " << p << ", " << q;
      }
    }
  }
}

TEST(LinearAlgebraTest, EigenvaluesAndVectors) {
  std::mt19937 random(2);
  for (const size_t size : {1, 2, 17, 72}) {
    const std::vector<double> matrix = Gram(Random(random, size + 5, size));
    const Eigen eigen = EigenOfSymmetric(matrix, size);
    for (size_t k = 0; k < size; ++k) {
      if (k > 0) {
        EXPECT_LE(eigen.values[k], eigen.values[k - 1]);
      }
      for (size_t i = 0; i < size; ++i) {
        double product = 0;
        for (size_t j = 0; j < size; ++j) {
          product += matrix[i * size + j] * eigen.vectors[j * size + k];
        }
        EXPECT_NEAR(product, eigen.values[k] * eigen.vectors[i * size + k], 1e-9 * eigen.values[0]);
      }
    }
  }
}

TEST(LinearAlgebraTest, RoughEigenvaluesAreNear) {
  std::mt19937 random(7);
  const std::vector<double> matrix = Gram(Random(random, 40, 16));
  const Eigen exact = EigenOfSymmetric(matrix, 16);
  const Eigen rough = EigenOfSymmetric(matrix, 16, 1e-8);
  for (size_t k = 0; k < 16; ++k) {
    EXPECT_NEAR(rough.values[k], exact.values[k], 1e-4 * exact.values[0]) << k;
  }
}

TEST(LinearAlgebraTest, PivotsExplainAMatrixOfTheirRank) {
  std::mt19937 random(3);
  const ThinMatrix left = Random(random, 50, 4);
  const ThinMatrix right = Random(random, 4, 30);
  ThinMatrix product(50, 30);
  kernels::AddTimes({left.numbers.data(), left.numbers.size(), 0, 4}, right.numbers.data(), 30,
                    product.numbers.data());
  const std::vector<double> residuals = CholeskyResiduals(Gram(product), 30, 6);
  ASSERT_EQ(residuals.size(), 7u);
  for (int k = 0; k < 4; ++k) EXPECT_GT(residuals[k], 1e-3 * residuals[0]) << k;
  EXPECT_LT(residuals[4], 1e-9 * residuals[0]);
  EXPECT_LT(residuals[6], 1e-9 * residuals[0]);
}

TEST(LinearAlgebraTest, ProductsOfRunsAddUp) {
  std::mt19937 random(4);
  constexpr size_t kRows = 23;
  constexpr size_t kColumns = 151;
  constexpr size_t kWidth = 8;
  const ThinMatrix matrix = Random(random, kRows, kColumns);
  const ThinMatrix right = Random(random, kColumns, kWidth);
  const ThinMatrix left = Random(random, kRows, kWidth);
  ThinMatrix times(kRows, kWidth);
  ThinMatrix transposed(kColumns, kWidth);
  for (size_t first = 0; first < matrix.numbers.size();) {
    const size_t count = std::min<size_t>(1 + random() % 400, matrix.numbers.size() - first);
    const kernels::MatrixRun run{matrix.numbers.data() + first, count, first % kColumns, kColumns};
    const size_t row = first / kColumns;
    kernels::AddTimes(run, right.numbers.data(), kWidth, times.row(row));
    kernels::AddTransposedTimes(run, left.row(row), kWidth, transposed.numbers.data());
    first += count;
  }
  for (size_t k = 0; k < kWidth; ++k) {
    for (size_t i = 0; i < kRows; ++i) {
      double sum = 0;
      for (size_t j = 0; j < kColumns; ++j) sum += matrix.row(i)[j] * right.row(j)[k];
      EXPECT_NEAR(times.row(i)[k], sum, 1e-3);
    }
    for (size_t j = 0; j < kColumns; ++j) {
      double sum = 0;
      for (size_t i = 0; i < kRows; ++i) sum += matrix.row(i)[j] * left.row(i)[k];
      EXPECT_NEAR(transposed.row(j)[k], sum, 1e-3);
    }
  }
}

TEST(LinearAlgebraTest, GramIsTheProductOfColumns) {
  std::mt19937 random(8);
  for (const size_t width : {1, 7, 8, 16, 24, 68}) {
    for (const size_t rows : {0, 1, 63, 64, 65, 200}) {
      const ThinMatrix matrix = Random(random, rows, width);
      const std::vector<double> gram = Gram(matrix);
      for (size_t p = 0; p < width; ++p) {
        for (size_t q = 0; q < width; ++q) {
          double sum = 0;
          for (size_t i = 0; i < rows; ++i) {
            sum += static_cast<double>(matrix.row(i)[p]) * matrix.row(i)[q];
          }
          ASSERT_NEAR(gram[p * width + q], sum, 1e-10) << width << ": " << p << ", " << q;
        }
      }
    }
  }
}

// All results of the kernels, one behind the other.
std::vector<double> AllProducts(const kernels::MatrixRun& run, const ThinMatrix& left,
                                const ThinMatrix& right) {
  ThinMatrix times(run.rows(), right.width);
  ThinMatrix transposed(run.columns, right.width);
  kernels::AddTimes(run, right.numbers.data(), right.width, times.numbers.data());
  kernels::AddTransposedTimes(run, left.numbers.data(), left.width, transposed.numbers.data());
  std::vector<double> all = Gram(right);
  all.push_back(kernels::SumOfSquares(run.numbers, run.count));
  all.insert(all.end(), times.numbers.begin(), times.numbers.end());
  all.insert(all.end(), transposed.numbers.begin(), transposed.numbers.end());
  return all;
}

TEST(LinearAlgebraTest, DifferencesAreTheSameOnAllInstructionSets) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (const DType dtype : {DType::kF16, DType::kBF16, DType::kF32}) {
    // Every pattern: infinities, NaNs, denormals, zeros of both signs.
    std::vector<uint8_t> target(4 * 10007);
    std::vector<uint8_t> parent(target.size());
    for (uint8_t& byte : target) byte = static_cast<uint8_t>(random());
    for (uint8_t& byte : parent) byte = static_cast<uint8_t>(random());
    const size_t count = target.size() / LaneBytes(dtype);
    std::vector<uint32_t> first;
    for (const int64_t instructions : hwy::SupportedAndGeneratedTargets()) {
      hwy::SetSupportedTargetsForTest(instructions);
      hwy::GetChosenTarget().DeInit();
      std::vector<float> difference(count, 1.0f);
      kernels::Subtract(dtype, target.data(), parent.data(), count, difference.data());
      for (const float number : difference) ASSERT_TRUE(std::isfinite(number));
      std::vector<uint32_t> bits(count);
      std::memcpy(bits.data(), difference.data(), 4 * count);
      if (first.empty()) first = bits;
      EXPECT_TRUE(bits == first) << hwy::TargetName(instructions) << ", " << DTypeName(dtype);
    }
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().DeInit();
  }
}

TEST(LinearAlgebraTest, AllInstructionSetsGiveTheSameBits) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (const size_t width : {1, 5, 8, 16, 24, 29, 72}) {
    for (const size_t columns : {1, 15, 64, 150, 331}) {
      kernels::MatrixRun run;
      run.columns = columns;
      run.first_column = random() % columns;
      run.count = 1 + random() % (150 * columns);
      const ThinMatrix numbers = Random(random, 1, run.count);
      run.numbers = numbers.numbers.data();
      const ThinMatrix left = Random(random, run.rows(), width);
      const ThinMatrix right = Random(random, columns, width);
      std::vector<double> first;
      for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
        hwy::SetSupportedTargetsForTest(target);
        hwy::GetChosenTarget().DeInit();
        const std::vector<double> all = AllProducts(run, left, right);
        if (first.empty()) first = all;
        EXPECT_TRUE(all == first) << hwy::TargetName(target) << ", " << width << " of " << columns;
      }
      hwy::SetSupportedTargetsForTest(0);
      hwy::GetChosenTarget().DeInit();
    }
  }
}

}  // namespace
}  // namespace wdelta
