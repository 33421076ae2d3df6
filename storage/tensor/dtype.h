// The element types of safetensors.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace wdelta {

// Values are part of the `.wdelta` format: only ever added, never renumbered.
enum class DType : uint8_t {
  kBool = 1,
  kU8 = 2,
  kI8 = 3,
  kU16 = 4,
  kI16 = 5,
  kU32 = 6,
  kI32 = 7,
  kU64 = 8,
  kI64 = 9,
  kF16 = 10,
  kBF16 = 11,
  kF32 = 12,
  kF64 = 13,
  kF8E4M3 = 14,
  kF8E5M2 = 15,
  kF8E8M0 = 16,
  kF8E4M3FNUZ = 17,
  kF8E5M2FNUZ = 18,
  kF6E2M3 = 19,
  kF6E3M2 = 20,
  kF4 = 21,
  kC64 = 22,
};

// Name in a safetensors header, e.g. `BF16`, `F8_E4M3`.
absl::string_view DTypeName(DType dtype);
// INVALID_ARGUMENT for a name that safetensors does not have.
absl::StatusOr<DType> ParseDType(absl::string_view name);
// INVALID_ARGUMENT for a byte that is no DType.
absl::StatusOr<DType> DTypeFromByte(uint8_t byte);
// Bits of one element: 4, 6, 8, 16, 32 or 64.
int BitsPerElement(DType dtype);
// Bytes of the unit that the codec works on: 1 for bool, 8 bits and below, 2, 4
// or 8; 4 for C64, whose elements are two F32.
int LaneBytes(DType dtype);
// True where bits compare as sign and magnitude (all F…, C64): such lanes are
// mapped to monotone integers before they are subtracted.
bool IsSignMagnitude(DType dtype);
// Bits below the exponent of a lane; 0 where a lane is no single number with one.
int MantissaBits(DType dtype);

}  // namespace wdelta
