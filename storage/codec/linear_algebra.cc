#include "storage/codec/linear_algebra.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "storage/codec/kernels/range_kernels.h"

namespace wdelta {
namespace {

constexpr int kMaxSweeps = 30;

// Of the square of a column: less of it is rounding.
constexpr double kRoundingShare = 1e-12;

// Of a column's square: where more is left of every column, one round is as good as two.
constexpr double kWellConditioned = 1e-3;

// The upper triangle T, row by row, with which the columns of matrix * T are orthonormal, from
// the matrix's Gram matrix by Cholesky's factorisation: T is the inverse of its factor.
struct Orthonormaliser {
  std::vector<float> triangle;
  bool is_exact = true;  // but for rounding
};

Orthonormaliser OrthonormaliserOf(const std::vector<double>& gram, size_t width) {
  Orthonormaliser result;
  std::vector<double> factor(width * width, 0.0);
  std::vector<double> inverse(width * width, 0.0);
  for (size_t k = 0; k < width; ++k) {
    double left = gram[k * width + k];
    for (size_t j = 0; j < k; ++j) {
      if (factor[j * width + j] == 0) continue;
      double along = gram[j * width + k];
      for (size_t i = 0; i < j; ++i) along -= factor[i * width + j] * factor[i * width + k];
      along /= factor[j * width + j];
      factor[j * width + k] = along;
      left -= along * along;
    }
    if (!(left > kWellConditioned * gram[k * width + k])) result.is_exact = false;
    if (!(left > kRoundingShare * gram[k * width + k])) {
      for (size_t j = 0; j < k; ++j) factor[j * width + k] = 0;
      continue;
    }
    const double norm = std::sqrt(left);
    factor[k * width + k] = norm;
    for (size_t i = 0; i < k; ++i) {
      double sum = 0;
      for (size_t j = i; j < k; ++j) sum += inverse[i * width + j] * factor[j * width + k];
      inverse[i * width + k] = -sum / norm;
    }
    inverse[k * width + k] = 1 / norm;
  }
  result.triangle.assign(inverse.begin(), inverse.end());
  return result;
}

// Two rows, turned by an angle of that cosine and sine.
void TurnRows(double* first, double* second, size_t size, double c, double s) {
  for (size_t k = 0; k < size; ++k) {
    const double a = first[k];
    const double b = second[k];
    first[k] = c * a - s * b;
    second[k] = s * a + c * b;
  }
}

// One rotation in the plane of p and q that makes the element there zero. The rows of `vectors`
// turn with it.
void Rotate(std::vector<double>& a, std::vector<double>& vectors, size_t size, size_t p, size_t q) {
  const double pp = a[p * size + p];
  const double qq = a[q * size + q];
  const double pq = a[p * size + q];
  const double theta = (qq - pp) / (2 * pq);
  const double t = (theta >= 0 ? 1.0 : -1.0) / (std::fabs(theta) + std::sqrt(theta * theta + 1));
  const double c = 1 / std::sqrt(t * t + 1);
  const double s = t * c;
  TurnRows(&a[p * size], &a[q * size], size, c, s);
  a[p * size + p] = pp - t * pq;
  a[q * size + q] = qq + t * pq;
  a[p * size + q] = a[q * size + p] = 0;
  // Columns are what rows are.
  for (size_t k = 0; k < size; ++k) {
    a[k * size + p] = a[p * size + k];
    a[k * size + q] = a[q * size + k];
  }
  TurnRows(&vectors[p * size], &vectors[q * size], size, c, s);
}

}  // namespace

ThinMatrix Times(const ThinMatrix& left, const float* right, size_t width) {
  ThinMatrix product(left.rows, width);
  kernels::AddTimes({left.numbers.data(), left.numbers.size(), 0, left.width}, right, width,
                    product.numbers.data());
  return product;
}

void Orthonormalise(ThinMatrix& matrix) { Orthonormalise(matrix, Gram(matrix)); }

void Orthonormalise(ThinMatrix& matrix, std::vector<double> gram) {
  for (int round = 0; round < 2; ++round) {
    if (round > 0) gram = Gram(matrix);
    const Orthonormaliser next = OrthonormaliserOf(gram, matrix.width);
    matrix = Times(matrix, next.triangle.data(), matrix.width);
    if (next.is_exact) return;
  }
}

std::vector<double> Gram(const ThinMatrix& matrix) {
  std::vector<double> gram(matrix.width * matrix.width, 0.0);
  kernels::AddGram(matrix.numbers.data(), matrix.rows, matrix.width, gram.data());
  return gram;
}

Eigen EigenOfSymmetric(std::vector<double> matrix, size_t size, double tolerance) {
  std::vector<double> vectors(size * size, 0.0);
  double squares = 0;
  for (size_t i = 0; i < size; ++i) vectors[i * size + i] = 1;
  for (const double number : matrix) squares += number * number;
  for (int sweep = 0; sweep < kMaxSweeps; ++sweep) {
    double off_diagonal = 0;
    for (size_t p = 0; p < size; ++p) {
      for (size_t q = p + 1; q < size; ++q) {
        const double number = matrix[p * size + q];
        off_diagonal += number * number;
        if (number * number > 1e-8 * tolerance * squares) Rotate(matrix, vectors, size, p, q);
      }
    }
    if (off_diagonal <= tolerance * squares) break;
  }
  std::vector<size_t> order(size);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t left, size_t right) {
    return matrix[left * size + left] > matrix[right * size + right];
  });
  Eigen eigen{std::vector<double>(size), std::vector<double>(size * size)};
  for (size_t k = 0; k < size; ++k) {
    eigen.values[k] = matrix[order[k] * size + order[k]];
    for (size_t i = 0; i < size; ++i) eigen.vectors[i * size + k] = vectors[order[k] * size + i];
  }
  return eigen;
}

std::vector<double> CholeskyResiduals(std::vector<double> matrix, size_t size, size_t steps) {
  std::vector<double> residuals;
  std::vector<double> pivot_row(size);
  for (size_t step = 0;; ++step) {
    size_t pivot = 0;
    double trace = 0;
    for (size_t i = 0; i < size; ++i) {
      trace += std::max(matrix[i * size + i], 0.0);
      if (matrix[i * size + i] > matrix[pivot * size + pivot]) pivot = i;
    }
    residuals.push_back(trace);
    const double largest = matrix[pivot * size + pivot];
    if (step == steps) return residuals;
    if (!(largest > 0)) break;
    std::copy_n(matrix.begin() + static_cast<std::ptrdiff_t>(pivot * size), size,
                pivot_row.begin());
    for (size_t i = 0; i < size; ++i) {
      const double scale = pivot_row[i] / largest;
      if (scale == 0) continue;
      for (size_t j = 0; j < size; ++j) matrix[i * size + j] -= scale * pivot_row[j];
    }
  }
  residuals.resize(steps + 1, 0.0);
  return residuals;
}

}  // namespace wdelta
