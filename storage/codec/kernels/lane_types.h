// Lanes as plain integers: what the portable kernels share. No state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace wdelta::kernels::portable {

template <typename T>
T Load(const uint8_t* bytes) {
  T lane = 0;
  for (size_t i = 0; i < sizeof(T); ++i) lane = static_cast<T>(lane | (T{bytes[i]} << (8 * i)));
  return lane;
}

template <typename T>
void Store(T lane, uint8_t* bytes) {
  for (size_t i = 0; i < sizeof(T); ++i) bytes[i] = static_cast<uint8_t>(lane >> (8 * i));
}

template <typename T>
constexpr int kBits = 8 * sizeof(T);
template <typename T>
constexpr T kSignBit = static_cast<T>(T{1} << (kBits<T> - 1));

// All ones when the top bit is set, else zero.
template <typename T>
T SpreadTopBit(T lane) {
  return static_cast<T>(T{0} - static_cast<T>(lane >> (kBits<T> - 1)));
}

// Integers that ascend with the number whose sign-magnitude bits are given.
template <typename T>
T ToMonotone(T bits) {
  return static_cast<T>(bits ^ (SpreadTopBit(bits) | kSignBit<T>));
}

template <typename T>
T FromMonotone(T monotone) {
  return static_cast<T>(monotone ^ (static_cast<T>(~SpreadTopBit(monotone)) | kSignBit<T>));
}

// Shifts that take the sign along.
template <typename T>
T ShiftRightSigned(T lane, int bits) {
  if (bits == 0) return lane;
  const T sign = SpreadTopBit(lane);
  return static_cast<T>(static_cast<T>(lane >> bits) | static_cast<T>(sign << (kBits<T> - bits)));
}

// Calls `function` with a zero of the lane's unsigned type.
template <typename Function>
void WithLaneType(int lane_bytes, Function function) {
  switch (lane_bytes) {
    case 1:
      return function(uint8_t{0});
    case 2:
      return function(uint16_t{0});
    case 4:
      return function(uint32_t{0});
    default:
      return function(uint64_t{0});
  }
}

}  // namespace wdelta::kernels::portable
