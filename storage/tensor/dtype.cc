#include "storage/tensor/dtype.h"

#include <array>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "storage/tensor/json_text.h"

namespace wdelta {
namespace {

struct DTypeTraits {
  DType dtype;
  absl::string_view name;
  int bits;
  int lane_bytes;
  bool is_sign_magnitude;
  int mantissa_bits;
};

// Row i describes the dtype of value i + 1.
constexpr std::array<DTypeTraits, 22> kTraits = {{
    {DType::kBool, "BOOL", 8, 1, false, 0},
    {DType::kU8, "U8", 8, 1, false, 0},
    {DType::kI8, "I8", 8, 1, false, 0},
    {DType::kU16, "U16", 16, 2, false, 0},
    {DType::kI16, "I16", 16, 2, false, 0},
    {DType::kU32, "U32", 32, 4, false, 0},
    {DType::kI32, "I32", 32, 4, false, 0},
    {DType::kU64, "U64", 64, 8, false, 0},
    {DType::kI64, "I64", 64, 8, false, 0},
    {DType::kF16, "F16", 16, 2, true, 10},
    {DType::kBF16, "BF16", 16, 2, true, 7},
    {DType::kF32, "F32", 32, 4, true, 23},
    {DType::kF64, "F64", 64, 8, true, 52},
    {DType::kF8E4M3, "F8_E4M3", 8, 1, true, 3},
    {DType::kF8E5M2, "F8_E5M2", 8, 1, true, 2},
    {DType::kF8E8M0, "F8_E8M0", 8, 1, true, 0},
    {DType::kF8E4M3FNUZ, "F8_E4M3FNUZ", 8, 1, true, 3},
    {DType::kF8E5M2FNUZ, "F8_E5M2FNUZ", 8, 1, true, 2},
    {DType::kF6E2M3, "F6_E2M3", 6, 1, true, 0},
    {DType::kF6E3M2, "F6_E3M2", 6, 1, true, 0},
    {DType::kF4, "F4", 4, 1, true, 0},
    {DType::kC64, "C64", 64, 4, true, 23},
}};

constexpr bool RowsAreInOrder() {
  for (size_t i = 0; i < kTraits.size(); ++i) {
    if (static_cast<size_t>(kTraits[i].dtype) != i + 1) return false;
  }
  return true;
}
static_assert(RowsAreInOrder());

const DTypeTraits& Traits(DType dtype) { return kTraits[static_cast<size_t>(dtype) - 1]; }

}  // namespace

absl::string_view DTypeName(DType dtype) { return Traits(dtype).name; }

absl::StatusOr<DType> ParseDType(absl::string_view name) {
  for (const DTypeTraits& traits : kTraits) {
    if (traits.name == name) return traits.dtype;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("dtype: expected one of safetensors' such as BF16, found ", Excerpt(name)));
}

absl::StatusOr<DType> DTypeFromByte(uint8_t byte) {
  if (byte == 0 || byte > kTraits.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("dtype: expected 1 to ", kTraits.size(), ", found ", byte));
  }
  return static_cast<DType>(byte);
}

int BitsPerElement(DType dtype) { return Traits(dtype).bits; }
int LaneBytes(DType dtype) { return Traits(dtype).lane_bytes; }
bool IsSignMagnitude(DType dtype) { return Traits(dtype).is_sign_magnitude; }
int MantissaBits(DType dtype) { return Traits(dtype).mantissa_bits; }

}  // namespace wdelta
