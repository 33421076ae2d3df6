#include "storage/codec/kernels/correct_kernels.h"
#include "storage/codec/kernels/real_lanes.h"

namespace wdelta::kernels::portable {
namespace {

#include "storage/codec/kernels/correct_lanes-inl.h"

float LoadFactor(const CorrectedRun& run, size_t index) {
  return run.v_dtype == DType::kF16 ? LoadReal<F16Lanes>(run.v, index)
                                    : LoadReal<F32Lanes>(run.v, index);
}

}  // namespace

void Correct(DType dtype, const CorrectedRun& run, uint8_t* lanes) {
  const size_t lane_bytes = LaneBytes(dtype);
  for (size_t i = 0; i < run.count; ++i) {
    const size_t row = (run.first_column + i) / run.columns;
    const size_t column = (run.first_column + i) % run.columns;
    float sum = 0;
    for (size_t k = 0; k < run.rank; ++k) {
      sum += run.u[row * run.rank + k] * LoadFactor(run, k * run.columns + column);
    }
    AddSums(dtype, &sum, 1, lanes + i * lane_bytes);
  }
}

}  // namespace wdelta::kernels::portable
