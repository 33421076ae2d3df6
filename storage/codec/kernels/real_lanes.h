// Lanes as real numbers: exact conversion to float or double and back with rounding
// to nearest even, written in integer and IEEE 754 operations that give the same bits
// on every CPU. No state.
#pragma once

#include <cstdint>
#include <cstring>

#include "storage/tensor/dtype.h"

namespace wdelta::kernels {

template <typename To, typename From>
inline To BitsAs(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

struct BF16Lanes {
  using Lane = uint16_t;
  using Real = float;
  static constexpr int kMantissaBits = 7;
  static constexpr int kExponentBits = 8;
  static Real ToReal(Lane lane) { return BitsAs<float>(static_cast<uint32_t>(lane) << 16); }
  static Lane FromReal(Real real) {
    const uint32_t bits = BitsAs<uint32_t>(real);
    return static_cast<Lane>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
  }
};

struct F16Lanes {
  using Lane = uint16_t;
  using Real = float;
  static constexpr int kMantissaBits = 10;
  static constexpr int kExponentBits = 5;
  static Real ToReal(Lane lane) {
    const uint32_t magnitude = lane & 0x7fffu;
    const uint32_t sign = (lane & 0x8000u) << 16;
    // Exponents of infinities and NaNs move up by 112 once more.
    const uint32_t rebias = magnitude < 0x7c00 ? 112u << 23 : 224u << 23;
    const float normal = BitsAs<float>((magnitude << 13) + rebias);
    const float denormal = static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f;
    const float value = magnitude < 0x400 ? denormal : normal;
    return BitsAs<float>(BitsAs<uint32_t>(value) | sign);
  }
  static Lane FromReal(Real real) {
    const uint32_t bits = BitsAs<uint32_t>(real);
    const uint32_t magnitude = bits & 0x7fffffffu;
    const uint32_t normal = ((magnitude + 0xfff + ((magnitude >> 13) & 1)) >> 13) - (112u << 10);
    // 0.5 has an ulp of 2^-24, the smallest denormal of F16: the sum rounds to it.
    const uint32_t denormal =
        BitsAs<uint32_t>(BitsAs<float>(magnitude) + 0.5f) - BitsAs<uint32_t>(0.5f);
    uint32_t half = magnitude < 0x38800000u ? denormal : normal;
    half = magnitude >= 0x477ff000u ? 0x7c00u : half;
    return static_cast<Lane>(half | ((bits >> 16) & 0x8000u));
  }
};

struct F32Lanes {
  using Lane = uint32_t;
  using Real = float;
  static constexpr int kMantissaBits = 23;
  static constexpr int kExponentBits = 8;
  static Real ToReal(Lane lane) { return BitsAs<float>(lane); }
  static Lane FromReal(Real real) { return BitsAs<uint32_t>(real); }
};

struct F64Lanes {
  using Lane = uint64_t;
  using Real = double;
  static constexpr int kMantissaBits = 52;
  static constexpr int kExponentBits = 11;
  static Real ToReal(Lane lane) { return BitsAs<double>(lane); }
  static Lane FromReal(Real real) { return BitsAs<uint64_t>(real); }
};

template <class Lanes>
inline typename Lanes::Lane LoadLane(const uint8_t* bytes, size_t index) {
  typename Lanes::Lane lane;
  std::memcpy(&lane, bytes + index * sizeof(lane), sizeof(lane));
  return lane;
}

template <class Lanes>
inline void StoreLane(typename Lanes::Lane lane, uint8_t* bytes, size_t index) {
  std::memcpy(bytes + index * sizeof(lane), &lane, sizeof(lane));
}

template <class Lanes>
inline typename Lanes::Real LoadReal(const uint8_t* bytes, size_t index) {
  return Lanes::ToReal(LoadLane<Lanes>(bytes, index));
}

// Calls `function` with a value of the Lanes type of a dtype that CanBeLossy.
template <class Function>
auto WithRealLanes(DType dtype, Function function) {
  switch (dtype) {
    case DType::kF16:
      return function(F16Lanes{});
    case DType::kBF16:
      return function(BF16Lanes{});
    case DType::kF32:
      return function(F32Lanes{});
    default:
      return function(F64Lanes{});
  }
}

}  // namespace wdelta::kernels
