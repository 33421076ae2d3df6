#include "storage/wdelta/v1/float_values.h"

#include <bit>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace wdelta {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are read as they lie");

template <typename Stored, typename Convert>
void WidenEach(absl::string_view bytes, absl::Span<float> values, Convert convert) {
  for (size_t i = 0; i < values.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    values[i] = convert(stored);
  }
}

template <typename Stored>
void WidenNumbers(absl::string_view bytes, absl::Span<float> values) {
  WidenEach<Stored>(bytes, values, [](Stored stored) { return static_cast<float>(stored); });
}

float Bfloat16ToFloat32(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

}  // namespace

float Float16ToFloat32(uint16_t bits) {
  const uint32_t sign = uint32_t{bits & 0x8000u} << 16;
  const uint32_t exponent = (bits >> 10) & 0x1f;
  const uint32_t mantissa = bits & 0x3ff;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  // Subnormal or zero: mantissa * 2^-24, which float32 holds exactly.
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

uint16_t Float32ToFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;   // NaN
  if (magnitude >= 0x47800000) return sign | 0x7c00;  // 65536 and more
  if (magnitude < 0x38800000) {
    // Below 2^-14 the result is a multiple of 2^-24: adding 0.5 rounds to it, as
    // 2^-24 is the last place of numbers from 0.5 to 1.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(shifted) - 0x3f000000);
  }
  // Rounds off 13 bits of the mantissa; a carry moves into the exponent.
  const uint32_t rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
  return sign | static_cast<uint16_t>((rounded - (uint32_t{112} << 23)) >> 13);
}

bool HasFloat32Values(DType dtype) {
  switch (dtype) {
    case DType::kBool:
    case DType::kU8:
    case DType::kI8:
    case DType::kU16:
    case DType::kI16:
    case DType::kU32:
    case DType::kI32:
    case DType::kU64:
    case DType::kI64:
    case DType::kF16:
    case DType::kBF16:
    case DType::kF32:
    case DType::kF64:
      return true;
    default:
      return false;
  }
}

absl::Status WidenToFloat32(DType dtype, absl::string_view bytes, absl::Span<float> values) {
  if (!HasFloat32Values(dtype) ||
      bytes.size() != values.size() * static_cast<size_t>(BitsPerElement(dtype) / 8)) {
    return absl::InvalidArgumentError(absl::StrCat("float32 of ", DTypeName(dtype), ": ",
                                                   bytes.size(), " bytes for ", values.size(),
                                                   " values"));
  }
  switch (dtype) {
    case DType::kBool:
      WidenEach<uint8_t>(bytes, values, [](uint8_t stored) { return stored != 0 ? 1.0f : 0.0f; });
      break;
    case DType::kU8:
      WidenNumbers<uint8_t>(bytes, values);
      break;
    case DType::kI8:
      WidenNumbers<int8_t>(bytes, values);
      break;
    case DType::kU16:
      WidenNumbers<uint16_t>(bytes, values);
      break;
    case DType::kI16:
      WidenNumbers<int16_t>(bytes, values);
      break;
    case DType::kU32:
      WidenNumbers<uint32_t>(bytes, values);
      break;
    case DType::kI32:
      WidenNumbers<int32_t>(bytes, values);
      break;
    case DType::kU64:
      WidenNumbers<uint64_t>(bytes, values);
      break;
    case DType::kI64:
      WidenNumbers<int64_t>(bytes, values);
      break;
    case DType::kF16:
      WidenEach<uint16_t>(bytes, values, Float16ToFloat32);
      break;
    case DType::kBF16:
      WidenEach<uint16_t>(bytes, values, Bfloat16ToFloat32);
      break;
    case DType::kF64:
      WidenNumbers<double>(bytes, values);
      break;
    default:  // kF32
      if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
      break;
  }
  return absl::OkStatus();
}

}  // namespace wdelta
