#include "storage/codec/kernels/correct_kernels.h"

#include "storage/codec/kernels/real_lanes.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "storage/codec/kernels/correct_kernels.cc"
#include "hwy/foreach_target.h"
// foreach_target.h must come before highway.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wdelta::kernels {
namespace HWY_NAMESPACE {

#include "storage/codec/kernels/correct_lanes-inl.h"

void CorrectForTarget(DType dtype, const RowFactors& factors, size_t count, uint8_t* lanes) {
  CorrectAll(dtype, factors, count, lanes);
}

}  // namespace HWY_NAMESPACE
}  // namespace wdelta::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wdelta::kernels {
namespace {

HWY_EXPORT(CorrectForTarget);

}  // namespace

void CorrectRow(DType dtype, const RowFactors& factors, size_t count, uint8_t* lanes) {
  HWY_DYNAMIC_DISPATCH(CorrectForTarget)(dtype, factors, count, lanes);
}

}  // namespace wdelta::kernels
#endif  // HWY_ONCE
