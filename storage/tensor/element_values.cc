#include "storage/tensor/element_values.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"

namespace wdelta {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are read as they lie");

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A float of sign, exponent and mantissa in at most 16 bits.
struct SmallFloat {
  int mantissa_bits;
  int bias;
  uint32_t sign_bit;
  uint32_t infinity;   // code of it; 0: there is none
  uint32_t first_nan;  // the least magnitude code that is a NaN
  bool is_fnuz;        // the only NaN is that of the code of minus zero
};

constexpr SmallFloat kF16 = {10, 15, 0x8000, 0x7c00, 0x7c01, false};
constexpr SmallFloat kBF16 = {7, 127, 0x8000, 0x7f80, 0x7f81, false};
constexpr SmallFloat kE4M3 = {3, 7, 0x80, 0, 0x7f, false};
constexpr SmallFloat kE5M2 = {2, 15, 0x80, 0x7c, 0x7d, false};
constexpr SmallFloat kE4M3Fnuz = {3, 8, 0x80, 0, 0x80, true};
constexpr SmallFloat kE5M2Fnuz = {2, 16, 0x80, 0, 0x80, true};

// Of a code without sign.
double MagnitudeOf(const SmallFloat& format, uint32_t code) {
  if (code >= format.first_nan) return kNaN;
  if (format.infinity != 0 && code == format.infinity) return kInfinity;
  const uint32_t mantissa = code & ((1u << format.mantissa_bits) - 1);
  const int exponent = static_cast<int>(code >> format.mantissa_bits);
  const uint32_t hidden = exponent == 0 ? 0 : 1u << format.mantissa_bits;
  return std::ldexp(static_cast<double>(mantissa + hidden),
                    std::max(exponent, 1) - format.bias - format.mantissa_bits);
}

double NumberOf(const SmallFloat& format, uint32_t code) {
  if (format.is_fnuz && code == format.sign_bit) return kNaN;
  const double magnitude = MagnitudeOf(format, code & (format.sign_bit - 1));
  return (code & format.sign_bit) != 0 ? -magnitude : magnitude;
}

uint32_t NaNOf(const SmallFloat& format) {
  if (format.is_fnuz) return format.sign_bit;
  // The quiet one where there are several.
  return format.infinity == 0 ? format.first_nan
                              : format.infinity | 1u << (format.mantissa_bits - 1);
}

uint32_t Round(const SmallFloat& format, float number) {
  const double magnitude = std::fabs(static_cast<double>(number));
  if (std::isnan(number)) return NaNOf(format);
  const uint32_t sign = std::signbit(number) ? format.sign_bit : 0;
  const uint32_t too_large = format.infinity != 0 ? sign | format.infinity : NaNOf(format);
  if (std::isinf(number)) return too_large;
  if (number == 0) return format.is_fnuz ? 0 : sign;
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  // The place of the last bit: that of the number's own exponent, or of subnormals.
  const int last_place = std::max(exponent - 1, 1 - format.bias) - format.mantissa_bits;
  // Below 2^(mantissa_bits + 1), a double holds it exactly: nearbyint ties to even.
  const auto units = static_cast<uint32_t>(std::nearbyint(std::ldexp(magnitude, -last_place)));
  const int biased = last_place + format.mantissa_bits + format.bias;  // 1 for subnormals
  // A mantissa that rounds up to the next power carries into the exponent by itself.
  const uint32_t code = units + (static_cast<uint32_t>(biased - 1) << format.mantissa_bits);
  const uint32_t end = format.infinity != 0 ? format.infinity : format.first_nan;
  if (code >= end) return too_large;
  return format.is_fnuz && code == 0 ? 0 : sign | code;
}

const SmallFloat* SmallFloatOf(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return &kF16;
    case DType::kBF16:
      return &kBF16;
    case DType::kF8E4M3:
      return &kE4M3;
    case DType::kF8E5M2:
      return &kE5M2;
    case DType::kF8E4M3FNUZ:
      return &kE4M3Fnuz;
    case DType::kF8E5M2FNUZ:
      return &kE5M2Fnuz;
    default:
      return nullptr;
  }
}

template <typename Stored, typename Convert>
void ReadEach(absl::string_view bytes, absl::Span<double> numbers, Convert convert) {
  for (size_t i = 0; i < numbers.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    numbers[i] = convert(stored);
  }
}

template <typename Stored>
void ReadAs(absl::string_view bytes, absl::Span<double> numbers) {
  ReadEach<Stored>(bytes, numbers, [](Stored stored) { return static_cast<double>(stored); });
}

double Float16ToDouble(uint16_t code) {
  const uint32_t magnitude = code & 0x7fffu;
  const uint32_t sign = (code & 0x8000u) << 16;
  // The exponent moves to float32's bias; infinities and NaNs move on to its last one.
  const uint32_t rebias = magnitude < 0x7c00 ? 112u << 23 : 224u << 23;
  const float number = magnitude < 0x400 ? static_cast<float>(magnitude) * 0x1p-24f
                                         : std::bit_cast<float>((magnitude << 13) + rebias);
  return std::bit_cast<float>(std::bit_cast<uint32_t>(number) | sign);
}

using Table = std::array<double, 256>;

Table TableOf(const SmallFloat& format) {
  Table table{};
  for (uint32_t code = 0; code < table.size(); ++code) table[code] = NumberOf(format, code);
  return table;
}

Table PowersOfTwo() {
  Table table{};
  for (int code = 0; code < 0xff; ++code) table[code] = std::ldexp(1.0, code - 127);
  table[0xff] = kNaN;
  return table;
}

// Numbers of the dtypes of F8; null for another.
const Table* TableFor(DType dtype) {
  static const Table e4m3 = TableOf(kE4M3), e5m2 = TableOf(kE5M2);
  static const Table e4m3_fnuz = TableOf(kE4M3Fnuz), e5m2_fnuz = TableOf(kE5M2Fnuz);
  static const Table e8m0 = PowersOfTwo();
  switch (dtype) {
    case DType::kF8E4M3:
      return &e4m3;
    case DType::kF8E5M2:
      return &e5m2;
    case DType::kF8E4M3FNUZ:
      return &e4m3_fnuz;
    case DType::kF8E5M2FNUZ:
      return &e5m2_fnuz;
    case DType::kF8E8M0:
      return &e8m0;
    default:
      return nullptr;
  }
}

template <typename Stored>
void StoreSmallFloats(absl::Span<const float> numbers, const SmallFloat& format,
                      std::string& bytes) {
  for (size_t i = 0; i < numbers.size(); ++i) {
    const auto stored = static_cast<Stored>(Round(format, numbers[i]));
    std::memcpy(bytes.data() + i * sizeof(Stored), &stored, sizeof(Stored));
  }
}

void StoreBfloat16(absl::Span<const float> numbers, std::string& bytes) {
  for (size_t i = 0; i < numbers.size(); ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(numbers[i]);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const auto stored = static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded);
    std::memcpy(bytes.data() + i * sizeof(stored), &stored, sizeof(stored));
  }
}

// NaNs come out the same whatever made them: CPUs differ in their signs.
template <typename Stored, typename Number>
void StoreReals(absl::Span<const Number> numbers, std::string& bytes) {
  for (size_t i = 0; i < numbers.size(); ++i) {
    const Stored stored = std::isnan(numbers[i]) ? std::numeric_limits<Stored>::quiet_NaN()
                                                 : static_cast<Stored>(numbers[i]);
    std::memcpy(bytes.data() + i * sizeof(stored), &stored, sizeof(stored));
  }
}

// Round to odd: whatever narrower type it is rounded to next, the result is that of one
// rounding.
float NarrowToOdd(double number) {
  const auto nearest = static_cast<float>(number);
  const auto bits = std::bit_cast<uint32_t>(nearest);
  if (std::isnan(number) || static_cast<double>(nearest) == number || (bits & 1) != 0) {
    return nearest;
  }
  const bool is_too_small = std::fabs(static_cast<double>(nearest)) < std::fabs(number);
  return std::bit_cast<float>(is_too_small ? bits + 1 : bits - 1);
}

}  // namespace

bool HasNumbers(DType dtype) { return BitsPerElement(dtype) >= 8; }

bool IsRounded(DType dtype) {
  return SmallFloatOf(dtype) != nullptr || dtype == DType::kF32 || dtype == DType::kF64;
}

size_t NumbersPerElement(DType dtype) { return dtype == DType::kC64 ? 2 : 1; }
size_t BytesPerNumber(DType dtype) { return static_cast<size_t>(LaneBytes(dtype)); }

absl::Status ReadNumbers(DType dtype, absl::string_view bytes, absl::Span<double> numbers) {
  if (!HasNumbers(dtype) || bytes.size() != numbers.size() * BytesPerNumber(dtype)) {
    return absl::InvalidArgumentError(absl::StrCat("numbers of ", DTypeName(dtype), ": ",
                                                   bytes.size(), " bytes for ", numbers.size(),
                                                   " numbers"));
  }
  if (const std::array<double, 256>* table = TableFor(dtype); table != nullptr) {
    ReadEach<uint8_t>(bytes, numbers, [table](uint8_t code) { return (*table)[code]; });
    return absl::OkStatus();
  }
  switch (dtype) {
    case DType::kBool:
      ReadEach<uint8_t>(bytes, numbers, [](uint8_t stored) { return stored != 0 ? 1.0 : 0.0; });
      break;
    case DType::kU8:
      ReadAs<uint8_t>(bytes, numbers);
      break;
    case DType::kI8:
      ReadAs<int8_t>(bytes, numbers);
      break;
    case DType::kU16:
      ReadAs<uint16_t>(bytes, numbers);
      break;
    case DType::kI16:
      ReadAs<int16_t>(bytes, numbers);
      break;
    case DType::kU32:
      ReadAs<uint32_t>(bytes, numbers);
      break;
    case DType::kI32:
      ReadAs<int32_t>(bytes, numbers);
      break;
    case DType::kU64:
      ReadAs<uint64_t>(bytes, numbers);
      break;
    case DType::kI64:
      ReadAs<int64_t>(bytes, numbers);
      break;
    case DType::kF16:
      ReadEach<uint16_t>(bytes, numbers, Float16ToDouble);
      break;
    case DType::kBF16:
      ReadEach<uint16_t>(bytes, numbers, [](uint16_t code) {
        return static_cast<double>(std::bit_cast<float>(uint32_t{code} << 16));
      });
      break;
    case DType::kF32:
    case DType::kC64:
      ReadAs<float>(bytes, numbers);
      break;
    default:  // kF64
      ReadAs<double>(bytes, numbers);
      break;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> WriteNumbers(DType dtype, absl::Span<const float> numbers) {
  if (!IsRounded(dtype)) {
    return absl::InvalidArgumentError(
        absl::StrCat("rounding: expected a floating dtype, found ", DTypeName(dtype)));
  }
  std::string bytes(numbers.size() * BytesPerNumber(dtype), '\0');
  if (dtype == DType::kF32) {
    StoreReals<float>(numbers, bytes);
  } else if (dtype == DType::kF64) {
    StoreReals<double>(numbers, bytes);
  } else if (dtype == DType::kBF16) {
    StoreBfloat16(numbers, bytes);
  } else if (BytesPerNumber(dtype) == 2) {
    StoreSmallFloats<uint16_t>(numbers, *SmallFloatOf(dtype), bytes);
  } else {
    StoreSmallFloats<uint8_t>(numbers, *SmallFloatOf(dtype), bytes);
  }
  return bytes;
}

absl::StatusOr<std::string> WriteNumbers(DType dtype, absl::Span<const double> numbers) {
  if (dtype == DType::kF64) {
    std::string bytes(numbers.size() * sizeof(double), '\0');
    StoreReals<double>(numbers, bytes);
    return bytes;
  }
  std::vector<float> narrow(numbers.size());
  for (size_t i = 0; i < numbers.size(); ++i) {
    narrow[i] = dtype == DType::kF32 ? static_cast<float>(numbers[i]) : NarrowToOdd(numbers[i]);
  }
  return WriteNumbers(dtype, narrow);
}

}  // namespace wdelta
