// SIMD kernels of decoding, and of what encoding shares with it. Sorting by class takes
// Compress and its inverse on bytes, which only AVX-512 with VBMI2 has.
#include "storage/codec/kernels/quantise_kernels.h"

#include <cstring>

#include "storage/codec/kernels/real_lanes.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "storage/codec/kernels/quantise_kernels.cc"
#include "hwy/foreach_target.h"
// foreach_target.h must come before highway.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wdelta::kernels {
namespace HWY_NAMESPACE {

#include "storage/codec/kernels/exponent_classes-inl.h"

void ExponentClassesSimd(DType dtype, int step_exponent, uint8_t base, const uint8_t* parent,
                         size_t first, size_t count, uint8_t* classes) {
  switch (dtype) {
    case DType::kF16:
      return FillClasses<F16Lanes>(step_exponent, base, parent, first, count, classes);
    case DType::kBF16:
      return FillClasses<BF16Lanes>(step_exponent, base, parent, first, count, classes);
    case DType::kF32:
      return FillClasses<F32Lanes>(step_exponent, base, parent, first, count, classes);
    default:
      return FillClasses<F64Lanes>(step_exponent, base, parent, first, count, classes);
  }
}

#if HWY_TARGET == HWY_SCALAR

bool MagnitudesSimd(const uint8_t*, size_t, uint8_t*) { return false; }
size_t CountClassesSimd(const uint8_t*, uint8_t, size_t first, size_t, ClassCounts&) {
  return first;
}
size_t ReconstructSimd(DType, const Reconstruction&, const uint8_t*, const uint8_t*, const uint8_t*,
                       size_t, uint8_t*) {
  return 0;
}

#else

namespace hn = hwy::HWY_NAMESPACE;

size_t CountClassesSimd(const uint8_t* classes, uint8_t base, size_t first, size_t count,
                        ClassCounts& counts) {
  const hn::ScalableTag<uint8_t> d;
  size_t i = first;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    const auto lanes = hn::LoadU(d, classes + i);
    size_t others = hn::Lanes(d);
    for (int e = 1; e < kExponentClasses; ++e) {
      const auto c = static_cast<uint8_t>(base + e * kSegmentClasses);
      const size_t found = hn::CountTrue(d, hn::Eq(lanes, hn::Set(d, c)));
      counts[c] += found;
      others -= found;
    }
    counts[base] += others;
  }
  return i;
}

// Whole groups of lanes, beyond `count` too.
bool MagnitudesSimd(const uint8_t* symbols, size_t count, uint8_t* magnitudes) {
  const hn::ScalableTag<uint8_t> d;
  const size_t step = hn::Lanes(d);
  // State after an index of even parity; an odd one flips the lowest bit.
  HWY_ALIGN static constexpr uint8_t kAfterEven[16] = {0, 3, 5, 6, 1, 2, 4, 7,
                                                       0, 3, 5, 6, 1, 2, 4, 7};
  const auto after_even = hn::LoadDup128(d, kAfterEven);
  const auto one = hn::Set(d, uint8_t{1});
  const auto zero = hn::Zero(d);
  for (size_t lane = 0; lane < kTrellisLanes; lane += step) {
    auto state = zero;
    for (size_t i = lane; i < count; i += kTrellisLanes) {
      const auto index = hn::AverageRound(hn::LoadU(d, symbols + i), zero);
      const auto odd = hn::IfThenZeroElse(hn::Eq(index, zero), hn::And(state, one));
      hn::StoreU(hn::Sub(hn::Add(index, index), odd), d, magnitudes + i);
      state = hn::Xor(hn::TableLookupBytes(after_even, state), hn::And(index, one));
    }
  }
  return true;
}

// Parents of F32 and BF16 as floats, and floats rounded to them.
template <class Lanes>
struct VectorLanes {
  using D = hn::ScalableTag<float>;
  using V = hn::Vec<D>;
  using DU = hn::Rebind<uint32_t, D>;
  using DN = hn::Rebind<typename Lanes::Lane, D>;
  using Narrow = hn::Vec<DN>;
  static HWY_INLINE V ToReal(D d, Narrow lanes) {
    const DU du;
    if constexpr (sizeof(typename Lanes::Lane) == 4) {
      return hn::BitCast(d, lanes);
    } else {
      return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, lanes)));
    }
  }
  static HWY_INLINE Narrow FromReal(V real) {
    const DU du;
    const DN dn;
    const auto bits = hn::BitCast(du, real);
    if constexpr (sizeof(typename Lanes::Lane) == 4) {
      return bits;
    } else {
      const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
      const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fffu)));
      return hn::TruncateTo(dn, hn::ShiftRight<16>(rounded));
    }
  }
};

template <class Lanes>
HWY_INLINE size_t ReconstructLoop(const Reconstruction& reconstruction, const uint8_t* symbols,
                                  const uint8_t* magnitudes, const uint8_t* parent, size_t count,
                                  uint8_t* target) {
  using Vectors = VectorLanes<Lanes>;
  using Lane = typename Lanes::Lane;
  const typename Vectors::D d;
  const typename Vectors::DU du;
  const typename Vectors::DN dn;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  const hn::RebindToSigned<decltype(du)> di;
  const hn::Repartition<uint8_t, decltype(dn)> bytes;
  const size_t step = hn::Lanes(d);
  if (step < kPoints + 1) return 0;  // the table of reductions needs a vector
  HWY_ALIGN float table[HWY_MAX_BYTES / 4] = {};
  for (int j = 0; j <= kPoints; ++j) {
    table[j] = static_cast<float>(reconstruction.reduction[j] / kReductionScale);
  }
  const auto reductions = hn::Load(d, table);
  const auto scale = hn::Set(d, static_cast<float>(reconstruction.step));
  const auto last = hn::Set(di, kPoints);
  size_t i = 0;
  for (; i + step <= count; i += step) {
    const auto magnitude = hn::BitCast(di, hn::PromoteTo(du, hn::LoadU(d8, magnitudes + i)));
    const auto sign = hn::ShiftLeft<31>(hn::PromoteTo(du, hn::LoadU(d8, symbols + i)));
    const auto points = hn::IndicesFromVec(d, hn::Min(magnitude, last));
    const auto reduced =
        hn::Sub(hn::ConvertTo(d, magnitude), hn::TableLookupLanes(reductions, points));
    const auto value = hn::Xor(hn::Mul(scale, reduced), hn::BitCast(d, sign));
    const uint8_t* const from = parent + i * sizeof(Lane);
    const auto lanes = hn::BitCast(dn, hn::LoadU(bytes, from));
    const auto sum = hn::Add(Vectors::ToReal(d, lanes), value);
    // The mask of the magnitudes, as wide as the lanes.
    const auto none = hn::VecFromMask(di, hn::Eq(magnitude, hn::Zero(di)));
    typename Vectors::Narrow keep;
    if constexpr (sizeof(Lane) == 4) {
      keep = hn::BitCast(du, none);
    } else {
      keep = hn::TruncateTo(dn, hn::BitCast(du, none));
    }
    const auto result = hn::Or(hn::And(keep, lanes), hn::AndNot(keep, Vectors::FromReal(sum)));
    hn::StoreU(hn::BitCast(bytes, result), bytes, target + i * sizeof(Lane));
  }
  return i;
}

size_t ReconstructSimd(DType dtype, const Reconstruction& reconstruction, const uint8_t* symbols,
                       const uint8_t* magnitudes, const uint8_t* parent, size_t count,
                       uint8_t* target) {
  switch (dtype) {
    case DType::kBF16:
      return ReconstructLoop<BF16Lanes>(reconstruction, symbols, magnitudes, parent, count, target);
    case DType::kF32:
      return ReconstructLoop<F32Lanes>(reconstruction, symbols, magnitudes, parent, count, target);
    default:
      return 0;
  }
}

#endif  // HWY_TARGET == HWY_SCALAR

#if HWY_TARGET <= HWY_AVX3_DL

size_t PartitionSimd(const uint8_t* classes, const std::vector<uint8_t>& present,
                     const uint8_t* symbols, size_t count, ClassCursor& starts,
                     uint8_t* partitioned) {
  size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    const __m512i lane_classes = _mm512_loadu_si512(classes + i);
    const __m512i lane_symbols = _mm512_loadu_si512(symbols + i);
    for (const uint8_t c : present) {
      const __mmask64 mask =
          _mm512_cmpeq_epi8_mask(lane_classes, _mm512_set1_epi8(static_cast<char>(c)));
      if (mask == 0) continue;
      const int lanes = __builtin_popcountll(mask);
      // What lies behind may be the beginning of the next class.
      _mm512_mask_storeu_epi8(partitioned + starts[c], ~uint64_t{0} >> (64 - lanes),
                              _mm512_maskz_compress_epi8(mask, lane_symbols));
      starts[c] += static_cast<size_t>(lanes);
    }
  }
  return i;
}

size_t MergeSimd(const uint8_t* classes, const std::vector<uint8_t>& present,
                 const uint8_t* partitioned, size_t count, ClassCursor& starts, uint8_t* symbols) {
  size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    const __m512i lane_classes = _mm512_loadu_si512(classes + i);
    __m512i merged = _mm512_setzero_si512();
    for (const uint8_t c : present) {
      const __mmask64 mask =
          _mm512_cmpeq_epi8_mask(lane_classes, _mm512_set1_epi8(static_cast<char>(c)));
      merged = _mm512_mask_expand_epi8(merged, mask, _mm512_loadu_si512(partitioned + starts[c]));
      starts[c] += static_cast<size_t>(__builtin_popcountll(mask));
    }
    _mm512_storeu_si512(symbols + i, merged);
  }
  return i;
}

#else

size_t PartitionSimd(const uint8_t*, const std::vector<uint8_t>&, const uint8_t*, size_t,
                     ClassCursor&, uint8_t*) {
  return 0;
}
size_t MergeSimd(const uint8_t*, const std::vector<uint8_t>&, const uint8_t*, size_t, ClassCursor&,
                 uint8_t*) {
  return 0;
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace wdelta::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wdelta::kernels {
namespace {

HWY_EXPORT(ExponentClassesSimd);
HWY_EXPORT(CountClassesSimd);
HWY_EXPORT(MagnitudesSimd);
HWY_EXPORT(ReconstructSimd);
HWY_EXPORT(PartitionSimd);
HWY_EXPORT(MergeSimd);

}  // namespace

void ExponentClasses(DType dtype, int step_exponent, uint8_t base, const uint8_t* parent,
                     size_t first, size_t count, uint8_t* classes) {
  HWY_DYNAMIC_DISPATCH(ExponentClassesSimd)
  (dtype, step_exponent, base, parent, first, count, classes);
}

void CountClasses(const uint8_t* classes, uint8_t base, size_t first, size_t count,
                  ClassCounts& counts) {
  for (size_t i = HWY_DYNAMIC_DISPATCH(CountClassesSimd)(classes, base, first, count, counts);
       i < count; ++i) {
    ++counts[classes[i]];
  }
}

void Magnitudes(const uint8_t* symbols, size_t count, uint8_t* magnitudes) {
  if (HWY_DYNAMIC_DISPATCH(MagnitudesSimd)(symbols, count, magnitudes)) return;
  portable::Magnitudes(symbols, count, magnitudes);
}

void Reconstruct(DType dtype, const Reconstruction& reconstruction, const uint8_t* symbols,
                 const uint8_t* magnitudes, const uint8_t* parent, size_t count, uint8_t* target) {
  const size_t done = HWY_DYNAMIC_DISPATCH(ReconstructSimd)(dtype, reconstruction, symbols,
                                                            magnitudes, parent, count, target);
  portable::Reconstruct(dtype, reconstruction, symbols, magnitudes, parent, done, count, target);
}

void PartitionSymbols(const uint8_t* classes, const std::vector<uint8_t>& present,
                      const uint8_t* symbols, size_t count, ClassCursor& starts,
                      uint8_t* partitioned) {
  const size_t done =
      HWY_DYNAMIC_DISPATCH(PartitionSimd)(classes, present, symbols, count, starts, partitioned);
  portable::PartitionSymbols(classes, symbols, done, count, starts, partitioned);
}

void MergeSymbols(const uint8_t* classes, const std::vector<uint8_t>& present,
                  const uint8_t* partitioned, size_t count, ClassCursor& starts, uint8_t* symbols) {
  const size_t done =
      HWY_DYNAMIC_DISPATCH(MergeSimd)(classes, present, partitioned, count, starts, symbols);
  portable::MergeSymbols(classes, partitioned, done, count, starts, symbols);
}

}  // namespace wdelta::kernels
#endif  // HWY_ONCE
