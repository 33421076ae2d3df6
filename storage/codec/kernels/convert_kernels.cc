#include "storage/codec/kernels/convert_kernels.h"

#include "storage/codec/kernels/real_lanes.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "storage/codec/kernels/convert_kernels.cc"
#include "hwy/foreach_target.h"
// foreach_target.h must come before highway.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wdelta::kernels {
namespace HWY_NAMESPACE {

#include "storage/codec/kernels/convert_lanes-inl.h"

void ConvertForTarget(DType from_dtype, const uint8_t* from, DType to_dtype, size_t count,
                      uint8_t* to) {
  ConvertAll(from_dtype, from, to_dtype, count, to);
}

}  // namespace HWY_NAMESPACE
}  // namespace wdelta::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wdelta::kernels {
namespace {

HWY_EXPORT(ConvertForTarget);

}  // namespace

void Convert(DType from_dtype, const uint8_t* from, DType to_dtype, size_t count, uint8_t* to) {
  HWY_DYNAMIC_DISPATCH(ConvertForTarget)(from_dtype, from, to_dtype, count, to);
}

}  // namespace wdelta::kernels
#endif  // HWY_ONCE
