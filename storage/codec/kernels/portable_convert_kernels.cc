#include "storage/codec/kernels/convert_kernels.h"
#include "storage/codec/kernels/real_lanes.h"

namespace wdelta::kernels::portable {
namespace {

#include "storage/codec/kernels/convert_lanes-inl.h"

}  // namespace

void Convert(DType from_dtype, const uint8_t* from, DType to_dtype, size_t count, uint8_t* to) {
  ConvertAll(from_dtype, from, to_dtype, count, to);
}

}  // namespace wdelta::kernels::portable
