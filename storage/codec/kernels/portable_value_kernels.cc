// Plain C++ twins of the value kernels.
#include <cstring>

#include "storage/codec/kernels/lane_types.h"
#include "storage/codec/kernels/value_kernels.h"

namespace wdelta::kernels::portable {
namespace {

template <typename T>
void TakeApartOf(const ValueFormat& format, const T* values, size_t first, size_t count,
                 uint8_t* symbols, uint8_t* raw, std::vector<uint64_t>& escapes) {
  const int byte_planes = format.low_bits / 8;
  const size_t bit_plane_bytes = (count + 7) / 8;
  uint8_t* const bit_planes = raw + byte_planes * count;
  for (int b = 8 * byte_planes; b < format.low_bits; ++b) {
    std::memset(bit_planes + (b % 8) * bit_plane_bytes + first / 8, 0, bit_plane_bytes - first / 8);
  }
  for (size_t i = first; i < count; ++i) {
    const T value = values[i];
    const T high = format.is_signed ? ShiftRightSigned(value, format.low_bits)
                                    : static_cast<T>(value >> format.low_bits);
    const T symbol = static_cast<T>(high - static_cast<T>(format.bias));
    const bool escapes_it = symbol > static_cast<T>(format.max_symbol);
    symbols[i] = escapes_it ? kEscape : static_cast<uint8_t>(symbol);
    if (escapes_it) escapes.push_back(value);
    for (int b = 0; b < byte_planes; ++b) raw[b * count + i] = static_cast<uint8_t>(value >> 8 * b);
    for (int b = 8 * byte_planes; b < format.low_bits; ++b) {
      bit_planes[(b % 8) * bit_plane_bytes + i / 8] |=
          static_cast<uint8_t>((static_cast<uint64_t>(value) >> b & 1) << (i % 8));
    }
  }
}

template <typename T>
void PutTogetherOf(const ValueFormat& format, const uint8_t* symbols, const uint8_t* raw,
                   size_t first, size_t count, T* values) {
  const int byte_planes = format.low_bits / 8;
  const size_t bit_plane_bytes = (count + 7) / 8;
  const uint8_t* const bit_planes = raw + byte_planes * count;
  for (size_t i = first; i < count; ++i) {
    uint64_t value = static_cast<T>(symbols[i] + static_cast<T>(format.bias));
    value <<= format.low_bits;
    for (int b = 0; b < byte_planes; ++b) value |= uint64_t{raw[b * count + i]} << 8 * b;
    for (int b = 8 * byte_planes; b < format.low_bits; ++b) {
      const uint64_t bit = bit_planes[(b % 8) * bit_plane_bytes + i / 8] >> (i % 8) & 1;
      value |= bit << b;
    }
    values[i] = static_cast<T>(value);
  }
}

}  // namespace

void TakeApart(LaneFormat format, const ValueFormat& values_format, const void* values,
               size_t first, size_t count, uint8_t* symbols, uint8_t* raw,
               std::vector<uint64_t>& escapes) {
  WithLaneType(format.lane_bytes, [&](auto zero) {
    TakeApartOf(values_format, static_cast<const decltype(zero)*>(values), first, count, symbols,
                raw, escapes);
  });
}

void PutTogether(LaneFormat format, const ValueFormat& values_format, const uint8_t* symbols,
                 const uint8_t* raw, size_t first, size_t count, void* values) {
  WithLaneType(format.lane_bytes, [&](auto zero) {
    PutTogetherOf(values_format, symbols, raw, first, count, static_cast<decltype(zero)*>(values));
  });
}

}  // namespace wdelta::kernels::portable
