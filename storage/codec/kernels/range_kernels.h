// Products of a run of a large matrix with a few columns, for finding its range. The sums of
// each number are taken in one order whatever the instruction set, so that all CPUs give the
// same. No state: any thread may call them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "storage/tensor/dtype.h"

namespace wdelta::kernels {

// Numbers of a matrix in row-major order. The first is in column `first_column` of row 0: rows
// are counted from there.
struct MatrixRun {
  const float* numbers = nullptr;
  size_t count = 0;
  size_t first_column = 0;
  size_t columns = 0;  // of the matrix

  size_t rows() const { return (first_column + count + columns - 1) / columns; }
};

// Fills `difference` with target less parent, 0 where that is not finite. F16, BF16 or F32.
void Subtract(DType dtype, const uint8_t* target, const uint8_t* parent, size_t count,
              float* difference);

// Adds run * right to `sums`, which has run.rows() rows; both have rows of `width` numbers, and
// `right` has one for each column. Fastest where `width` is a multiple of 16, then of 8.
void AddTimes(const MatrixRun& run, const float* right, size_t width, float* sums);

// Adds transposed run * left to `sums`, which has a row for each column; `left` has run.rows().
void AddTransposedTimes(const MatrixRun& run, const float* left, size_t width, float* sums);

// Adds transposed rows * rows to `gram`, which is symmetric, width x width.
void AddGram(const float* numbers, size_t rows, size_t width, double* gram);

double SumOfSquares(const float* numbers, size_t count);

}  // namespace wdelta::kernels
