// Stored elements as numbers. Pure functions; the same bits on every CPU.
//
// Sources: IEEE 754 (F64, F32, F16); BF16 is the upper half of F32; F8_E4M3 and F8_E5M2 are
// those of Micikevicius et al. 2022, arXiv 2209.05433; the FNUZ ones of Noune et al. 2022,
// arXiv 2206.02915, have one zero, one NaN and no infinity; F8_E8M0 is the scale of the OCP
// microscaling formats 1.0: a power of two, or NaN.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "storage/tensor/dtype.h"

namespace wdelta {

// False for F4 and F6, of which several share a byte.
bool HasNumbers(DType dtype);
// True for F64, F32, F16, BF16 and the F8 with sign and mantissa.
bool IsRounded(DType dtype);

// Numbers of an element: 2 for C64 (real and imaginary part), otherwise 1.
size_t NumbersPerElement(DType dtype);
// Bytes of one number.
size_t BytesPerNumber(DType dtype);

// Fills `numbers`, whose count times BytesPerNumber is the size of `bytes`
// (little-endian). Exact, but for I64 and U64 beyond 2^53, which are rounded to nearest
// even. BOOL: 0 or 1. INVALID_ARGUMENT when sizes differ or HasNumbers is false.
absl::Status ReadNumbers(DType dtype, absl::string_view bytes, absl::Span<double> numbers);

// Inverse for IsRounded dtypes: to nearest, ties to even. What is too large becomes
// infinity, or NaN where the dtype has none; NaN becomes the dtype's positive quiet NaN.
// INVALID_ARGUMENT for another dtype.
absl::StatusOr<std::string> WriteNumbers(DType dtype, absl::Span<const float> numbers);
// Likewise, rounded once.
absl::StatusOr<std::string> WriteNumbers(DType dtype, absl::Span<const double> numbers);

}  // namespace wdelta
