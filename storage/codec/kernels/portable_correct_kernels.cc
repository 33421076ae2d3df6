#include "storage/codec/kernels/correct_kernels.h"
#include "storage/codec/kernels/real_lanes.h"

namespace wdelta::kernels::portable {
namespace {

#include "storage/codec/kernels/correct_lanes-inl.h"

}  // namespace

void CorrectRow(DType dtype, const RowFactors& factors, size_t count, uint8_t* lanes) {
  CorrectAll(dtype, factors, count, lanes);
}

}  // namespace wdelta::kernels::portable
