// A parent's numbers plus the product of two thin matrices. Specified in
// storage/wdelta/FORMAT.md ("Corrected parents").
//
// `kernels` is compiled for the best instruction set of the CPU (Highway, chosen at run
// time), `kernels::portable` is its plain twin. Both give the same bytes. No state: any
// thread may call them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "storage/tensor/dtype.h"

namespace wdelta::kernels {

// Lanes of a matrix in row-major order, and what they are corrected with. The first is in column
// `first_column` of row 0: rows are counted from there.
struct CorrectedRun {
  size_t count = 0;
  size_t first_column = 0;
  size_t columns = 0;           // of the matrix
  size_t rank = 0;              // 1 to limits::kMaxCorrectionRank
  const float* u = nullptr;     // `rank` numbers for each of rows()
  DType v_dtype = DType::kF16;  // or F32
  const uint8_t* v = nullptr;   // `rank` rows of `columns` numbers

  size_t rows() const { return (first_column + count + columns - 1) / columns; }
};

// Corrects the lanes in place. `dtype` is F16, BF16 or F32.
void Correct(DType dtype, const CorrectedRun& run, uint8_t* lanes);

namespace portable {

void Correct(DType dtype, const CorrectedRun& run, uint8_t* lanes);

}  // namespace portable
}  // namespace wdelta::kernels
