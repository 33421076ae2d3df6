// Conversions between stored elements and float32, as FORMAT_V1.md defines them.
// Pure functions; the same bits on every CPU, but for NaN payloads.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "storage/tensor/dtype.h"

namespace wdelta {

// IEEE 754 binary16 to binary32, exact.
float Float16ToFloat32(uint16_t bits);
// Round to nearest, ties to even; overflow gives infinity.
uint16_t Float32ToFloat16(float value);

// True for the dtypes that version 1 knows: F64, F32, F16, BF16, BOOL, integers.
bool HasFloat32Values(DType dtype);

// The elements in `bytes`, little-endian, as float32: one for each of `values`, whose
// number times the element's size is the size of `bytes`. INVALID_ARGUMENT when
// sizes differ or HasFloat32Values is false.
absl::Status WidenToFloat32(DType dtype, absl::string_view bytes, absl::Span<float> values);

}  // namespace wdelta
