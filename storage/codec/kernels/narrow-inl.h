// Lanes to their low bytes, for the SIMD kernels: included once for every target.
//
// Highway's own TruncateTo of version 1.0.3 gives other bytes on AVX3_DL.
#if defined(WDELTA_NARROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WDELTA_NARROW_INL_H_
#undef WDELTA_NARROW_INL_H_
#else
#define WDELTA_NARROW_INL_H_
#endif

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wdelta::kernels {
namespace HWY_NAMESPACE {

// The low byte of every lane of 2 or 4 bytes, in order, to `to`.
template <class D>
HWY_INLINE void StoreLowBytes([[maybe_unused]] D d, hwy::HWY_NAMESPACE::Vec<D> lanes, uint8_t* to) {
  namespace hn = hwy::HWY_NAMESPACE;
#if HWY_TARGET <= HWY_AVX3
  if constexpr (sizeof(hn::TFromD<D>) == 4) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(lanes.raw));
  } else {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi16_epi8(lanes.raw));
  }
#else
  const hn::Rebind<uint8_t, D> d8;
  hn::StoreU(hn::TruncateTo(d8, lanes), d8, to);
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace wdelta::kernels
HWY_AFTER_NAMESPACE();

#endif  // WDELTA_NARROW_INL_H_
