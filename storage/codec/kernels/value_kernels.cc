// SIMD kernels for lanes of 2 and 4 bytes; the lanes left over, and other lane sizes,
// go to the portable twin.
#include "storage/codec/kernels/value_kernels.h"

#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "storage/codec/kernels/value_kernels.cc"
#include "hwy/foreach_target.h"
// foreach_target.h must come before highway.h.
#include "hwy/highway.h"
#include "storage/codec/kernels/narrow-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wdelta::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET != HWY_SCALAR

// One bit a lane, in as many bytes as they fill.
template <class D>
HWY_INLINE void StoreBits(D d, hn::Mask<D> mask, uint8_t* to) {
#if HWY_TARGET <= HWY_AVX3
  std::memcpy(to, &mask.raw, sizeof(mask.raw));
#else
  uint8_t bits[8];
  const size_t bytes = hn::StoreMaskBits(d, mask, bits);
  for (size_t j = 0; j < bytes; ++j) to[j] = bits[j];
#endif
}

// Bit masks of fewer than 8 lanes do not fill bytes: such targets do nothing here.
template <typename T>
size_t TakeApartLoop(const ValueFormat& format, const T* values, size_t count, uint8_t* symbols,
                     uint8_t* raw, std::vector<uint64_t>& escapes) {
  const hn::ScalableTag<T> d;
  const hn::RebindToSigned<decltype(d)> di;
  const size_t step = hn::Lanes(d);
  if (step < 8) return 0;
  const int byte_planes = format.low_bits / 8;
  const size_t bit_plane_bytes = (count + 7) / 8;
  uint8_t* const bit_planes = raw + byte_planes * count;
  const auto bias = hn::Set(d, static_cast<T>(format.bias));
  const auto max_symbol = hn::Set(d, static_cast<T>(format.max_symbol));
  const auto escape = hn::Set(d, T{kEscape});
  size_t i = 0;
  for (; i + step <= count; i += step) {
    const auto value = hn::LoadU(d, values + i);
    const auto high =
        format.is_signed
            ? hn::BitCast(d, hn::ShiftRightSame(hn::BitCast(di, value), format.low_bits))
            : hn::ShiftRightSame(value, format.low_bits);
    const auto symbol = hn::Sub(high, bias);
    const auto too_large = hn::Gt(symbol, max_symbol);
    StoreLowBytes(d, hn::IfThenElse(too_large, escape, symbol), symbols + i);
    if (HWY_UNLIKELY(!hn::AllFalse(d, too_large))) {
      for (size_t lane = i; lane < i + step; ++lane) {
        if (symbols[lane] == kEscape) escapes.push_back(values[lane]);
      }
    }
    for (int b = 0; b < byte_planes; ++b) {
      StoreLowBytes(d, hn::ShiftRightSame(value, 8 * b), raw + b * count + i);
    }
    for (int b = 8 * byte_planes; b < format.low_bits; ++b) {
      const auto set = hn::TestBit(value, hn::Set(d, static_cast<T>(T{1} << b)));
      StoreBits(d, set, bit_planes + (b % 8) * bit_plane_bytes + i / 8);
    }
  }
  return i;
}

size_t TakeApartSimd(LaneFormat format, const ValueFormat& values_format, const void* values,
                     size_t count, uint8_t* symbols, uint8_t* raw, std::vector<uint64_t>& escapes) {
  // With 256 symbols, 255 is no mark of an escape.
  if (values_format.max_symbol == 255) return 0;
  switch (format.lane_bytes) {
    case 2:
      return TakeApartLoop(values_format, static_cast<const uint16_t*>(values), count, symbols, raw,
                           escapes);
    case 4:
      return TakeApartLoop(values_format, static_cast<const uint32_t*>(values), count, symbols, raw,
                           escapes);
    default:
      return 0;
  }
}

// The bits of the lanes from `lane` on, a multiple of 8, in a plane of `plane_bytes`.
template <class D>
HWY_INLINE hn::Mask<D> LoadBits(D d, const uint8_t* plane, size_t lane, size_t plane_bytes) {
  const uint8_t* const from = plane + lane / 8;
  // Highway reads 8 bytes, whatever it needs.
  if (HWY_LIKELY(lane / 8 + 8 <= plane_bytes)) return hn::LoadMaskBits(d, from);
  uint8_t bits[8] = {0};
  for (size_t j = 0; j < (hn::Lanes(d) + 7) / 8; ++j) bits[j] = from[j];
  return hn::LoadMaskBits(d, bits);
}

template <typename T>
size_t PutTogetherLoop(const ValueFormat& format, const uint8_t* symbols, const uint8_t* raw,
                       size_t count, T* values) {
  const hn::ScalableTag<T> d;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  const size_t step = hn::Lanes(d);
  if (step < 8) return 0;
  const int byte_planes = format.low_bits / 8;
  const size_t bit_plane_bytes = (count + 7) / 8;
  const uint8_t* const bit_planes = raw + byte_planes * count;
  const auto bias = hn::Set(d, static_cast<T>(format.bias));
  size_t i = 0;
  for (; i + step <= count; i += step) {
    auto value = hn::Add(hn::PromoteTo(d, hn::LoadU(d8, symbols + i)), bias);
    value = hn::ShiftLeftSame(value, format.low_bits);
    for (int b = 0; b < byte_planes; ++b) {
      const auto plane = hn::PromoteTo(d, hn::LoadU(d8, raw + b * count + i));
      value = hn::Or(value, hn::ShiftLeftSame(plane, 8 * b));
    }
    for (int b = 8 * byte_planes; b < format.low_bits; ++b) {
      const auto set = LoadBits(d, bit_planes + (b % 8) * bit_plane_bytes, i, bit_plane_bytes);
      value = hn::Or(value, hn::IfThenElseZero(set, hn::Set(d, static_cast<T>(T{1} << b))));
    }
    hn::StoreU(value, d, values + i);
  }
  return i;
}

size_t PutTogetherSimd(LaneFormat format, const ValueFormat& values_format, const uint8_t* symbols,
                       const uint8_t* raw, size_t count, void* values) {
  switch (format.lane_bytes) {
    case 2:
      return PutTogetherLoop(values_format, symbols, raw, count, static_cast<uint16_t*>(values));
    case 4:
      return PutTogetherLoop(values_format, symbols, raw, count, static_cast<uint32_t*>(values));
    default:
      return 0;
  }
}

#else

size_t TakeApartSimd(LaneFormat, const ValueFormat&, const void*, size_t, uint8_t*, uint8_t*,
                     std::vector<uint64_t>&) {
  return 0;
}
size_t PutTogetherSimd(LaneFormat, const ValueFormat&, const uint8_t*, const uint8_t*, size_t,
                       void*) {
  return 0;
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace wdelta::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wdelta::kernels {
namespace {

HWY_EXPORT(TakeApartSimd);
HWY_EXPORT(PutTogetherSimd);

}  // namespace

size_t RawBytes(int low_bits, size_t count) {
  return static_cast<size_t>(low_bits / 8) * count +
         static_cast<size_t>(low_bits % 8) * ((count + 7) / 8);
}

void TakeApart(LaneFormat format, const ValueFormat& values_format, const void* values,
               size_t count, uint8_t* symbols, uint8_t* raw, std::vector<uint64_t>& escapes) {
  const size_t done = HWY_DYNAMIC_DISPATCH(TakeApartSimd)(format, values_format, values, count,
                                                          symbols, raw, escapes);
  portable::TakeApart(format, values_format, values, done, count, symbols, raw, escapes);
}

void PutTogether(LaneFormat format, const ValueFormat& values_format, const uint8_t* symbols,
                 const uint8_t* raw, size_t count, void* values) {
  const size_t done =
      HWY_DYNAMIC_DISPATCH(PutTogetherSimd)(format, values_format, symbols, raw, count, values);
  portable::PutTogether(format, values_format, symbols, raw, done, count, values);
}

}  // namespace wdelta::kernels
#endif  // HWY_ONCE
