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

// Lanes of one row in a run of columns: `u` has `rank` numbers, those of the row; `v` has `rank`
// rows, `v_stride` numbers apart, that begin with the run's first column.
struct RowFactors {
  const float* u = nullptr;
  const float* v = nullptr;
  size_t rank = 0;
  size_t v_stride = 0;
};

// Corrects `count` lanes in place. `dtype` is F16, BF16 or F32.
void CorrectRow(DType dtype, const RowFactors& factors, size_t count, uint8_t* lanes);

namespace portable {

void CorrectRow(DType dtype, const RowFactors& factors, size_t count, uint8_t* lanes);

}  // namespace portable
}  // namespace wdelta::kernels
