// Small dense linear algebra, in one order of operations: the same result on every CPU and for
// any number of threads. No state: any thread may call it.
#pragma once

#include <cstddef>
#include <vector>

namespace wdelta {

// Rows of `width` numbers, back to back.
struct ThinMatrix {
  size_t rows = 0;
  size_t width = 0;
  std::vector<float> numbers;

  ThinMatrix() = default;
  ThinMatrix(size_t row_count, size_t row_width)
      : rows(row_count), width(row_width), numbers(row_count * row_width, 0.0f) {}
  float* row(size_t index) { return numbers.data() + index * width; }
  const float* row(size_t index) const { return numbers.data() + index * width; }
};

// left * right, which has a row of `width` numbers for each column of left.
ThinMatrix Times(const ThinMatrix& left, const float* right, size_t width);

// Makes the columns orthonormal, each from those before it (by Cholesky's factor of their Gram
// matrix, twice where it must be); what then is nothing but rounding becomes zero.
void Orthonormalise(ThinMatrix& matrix);
// The same, given the matrix's Gram matrix.
void Orthonormalise(ThinMatrix& matrix, std::vector<double> gram);

// matrix^T * matrix, row by row.
std::vector<double> Gram(const ThinMatrix& matrix);

// Of a symmetric matrix of `size` rows, by Jacobi's rotations: eigenvalues in descending order,
// and their vectors as the columns of `vectors`, row by row. They end when the squares off the
// diagonal are at most `tolerance` of all.
struct Eigen {
  std::vector<double> values;
  std::vector<double> vectors;
};
Eigen EigenOfSymmetric(std::vector<double> matrix, size_t size, double tolerance = 1e-24);

// What remains of the trace of a positive semidefinite matrix of `size` rows after each of
// `steps` steps of the pivoted Cholesky factorisation; the first is the trace. Of a Gram matrix
// G = S S^T: the squared norm of what the first pivots' rows leave of S.
std::vector<double> CholeskyResiduals(std::vector<double> matrix, size_t size, size_t steps);

}  // namespace wdelta
