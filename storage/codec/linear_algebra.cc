#include "storage/codec/linear_algebra.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace wdelta {
namespace {

constexpr int kMaxSweeps = 30;

// Sums that do not wait for each other.
double Dot(const float* a, const float* b, size_t count) {
  double sums[8] = {};
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (size_t j = 0; j < 8; ++j) sums[j] += static_cast<double>(a[i + j]) * b[i + j];
  }
  double sum = 0;
  for (; i < count; ++i) sum += static_cast<double>(a[i]) * b[i];
  for (const double part : sums) sum += part;
  return sum;
}

// One rotation in the plane of p and q that makes the element there zero.
void Rotate(std::vector<double>& a, std::vector<double>& vectors, size_t size, size_t p, size_t q) {
  const double theta = (a[q * size + q] - a[p * size + p]) / (2 * a[p * size + q]);
  const double t = (theta >= 0 ? 1.0 : -1.0) / (std::fabs(theta) + std::sqrt(theta * theta + 1));
  const double c = 1 / std::sqrt(t * t + 1);
  const double s = t * c;
  for (size_t k = 0; k < size; ++k) {
    const double kp = a[k * size + p];
    const double kq = a[k * size + q];
    a[k * size + p] = c * kp - s * kq;
    a[k * size + q] = s * kp + c * kq;
  }
  for (size_t k = 0; k < size; ++k) {
    const double pk = a[p * size + k];
    const double qk = a[q * size + k];
    a[p * size + k] = c * pk - s * qk;
    a[q * size + k] = s * pk + c * qk;
    const double vp = vectors[k * size + p];
    const double vq = vectors[k * size + q];
    vectors[k * size + p] = c * vp - s * vq;
    vectors[k * size + q] = s * vp + c * vq;
  }
}

}  // namespace

void Orthonormalise(ThinMatrix& matrix) {
  const size_t rows = matrix.rows;
  std::vector<float> columns(rows * matrix.width);
  for (size_t i = 0; i < rows; ++i) {
    for (size_t k = 0; k < matrix.width; ++k) columns[k * rows + i] = matrix.row(i)[k];
  }
  for (size_t k = 0; k < matrix.width; ++k) {
    float* const column = columns.data() + k * rows;
    const double before = Dot(column, column, rows);
    for (int round = 0; round < 2; ++round) {
      for (size_t other = 0; other < k; ++other) {
        const float* const unit = columns.data() + other * rows;
        const auto along = static_cast<float>(Dot(unit, column, rows));
        for (size_t i = 0; i < rows; ++i) column[i] -= along * unit[i];
      }
    }
    const double after = Dot(column, column, rows);
    const bool is_rounding = !(after > 1e-12 * before);
    const auto scale = static_cast<float>(is_rounding ? 0 : 1 / std::sqrt(after));
    for (size_t i = 0; i < rows; ++i) column[i] *= scale;
  }
  for (size_t i = 0; i < rows; ++i) {
    for (size_t k = 0; k < matrix.width; ++k) matrix.row(i)[k] = columns[k * rows + i];
  }
}

std::vector<double> Gram(const ThinMatrix& matrix) {
  const size_t width = matrix.width;
  std::vector<double> gram(width * width, 0.0);
  for (size_t i = 0; i < matrix.rows; ++i) {
    const float* const row = matrix.row(i);
    for (size_t p = 0; p < width; ++p) {
      const double scale = row[p];
      for (size_t q = p; q < width; ++q) gram[p * width + q] += scale * row[q];
    }
  }
  for (size_t p = 0; p < width; ++p) {
    for (size_t q = 0; q < p; ++q) gram[p * width + q] = gram[q * width + p];
  }
  return gram;
}

Eigen EigenOfSymmetric(std::vector<double> matrix, size_t size) {
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
        if (number * number > 1e-32 * squares) Rotate(matrix, vectors, size, p, q);
      }
    }
    if (off_diagonal <= 1e-24 * squares) break;
  }
  std::vector<size_t> order(size);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t left, size_t right) {
    return matrix[left * size + left] > matrix[right * size + right];
  });
  Eigen eigen{std::vector<double>(size), std::vector<double>(size * size)};
  for (size_t k = 0; k < size; ++k) {
    eigen.values[k] = matrix[order[k] * size + order[k]];
    for (size_t i = 0; i < size; ++i) eigen.vectors[i * size + k] = vectors[i * size + order[k]];
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
