// Numbers of one dtype to the nearest of another, for chunks whose parent has another dtype.
// Specified in storage/wdelta/FORMAT.md ("Converted parents").
//
// `kernels` is compiled for the best instruction set of the CPU (Highway, chosen at run
// time), `kernels::portable` is its plain twin. Both give the same bytes. No state: any
// thread may call them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "storage/tensor/dtype.h"

namespace wdelta::kernels {

// Fills `to` with `count` lanes of `to_dtype`, from as many of `from_dtype`. Both dtypes are
// those that CanBeLossy.
void Convert(DType from_dtype, const uint8_t* from, DType to_dtype, size_t count, uint8_t* to);

namespace portable {

void Convert(DType from_dtype, const uint8_t* from, DType to_dtype, size_t count, uint8_t* to);

}  // namespace portable
}  // namespace wdelta::kernels
