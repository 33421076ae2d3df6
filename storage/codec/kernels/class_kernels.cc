// SIMD kernels for lanes of 2 and 4 bytes. Splitting needs Compress, merging its
// inverse, which only AVX-512 has; the lanes left over, and other lane sizes, go to
// the portable twin.
#include "storage/codec/kernels/class_kernels.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "storage/codec/kernels/class_kernels.cc"
#include "hwy/foreach_target.h"
// foreach_target.h must come before highway.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wdelta::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET != HWY_SCALAR

// So many of the uppermost classes hold nearly all lanes: of the others the loops ask
// first whether there is any.
constexpr int kCommonClasses = 10;

// The loops below work on copies of the map and of the starts: what is written through a
// pointer to bytes cannot change those.

// Calls `visit` with the number and the mask of every class that may have a lane.
template <class D, class Visit>
HWY_INLINE void ForEachClass(D d, hn::Vec<D> classes, int count, Visit visit) {
  using T = hn::TFromD<D>;
  const int common = HWY_MAX(0, count - kCommonClasses);
  if (HWY_LIKELY(count >= kCommonClasses)) {
    const hn::Vec<D> first = hn::Set(d, static_cast<T>(common));
#pragma GCC unroll 10
    for (int c = 0; c < kCommonClasses; ++c) {
      visit(common + c, hn::Eq(classes, hn::Add(first, hn::Set(d, static_cast<T>(c)))));
    }
  } else {
    for (int c = 0; c < count; ++c) visit(c, hn::Eq(classes, hn::Set(d, static_cast<T>(c))));
  }
  if (common == 0 || hn::AllFalse(d, hn::Lt(classes, hn::Set(d, static_cast<T>(common))))) return;
  for (int c = 0; c < common; ++c) visit(c, hn::Eq(classes, hn::Set(d, static_cast<T>(c))));
}

// The vector form of LaneMaths in portable_class_kernels.cc.
template <typename T>
struct VectorMaths {
  using D = hn::ScalableTag<T>;
  using V = hn::Vec<D>;
  D d;
  const bool sign_magnitude;
  const int zero_bits;
  const V keep;
  const V magnitude;

  HWY_INLINE VectorMaths(LaneFormat format, const ClassMap& map)
      : sign_magnitude(format.sign_magnitude),
        zero_bits(map.zero_bits),
        keep(hn::Set(d, static_cast<T>(~T{0} << map.zero_bits))),
        magnitude(
            hn::Set(d, static_cast<T>(static_cast<T>(~T{0}) >> (format.sign_magnitude ? 1 : 0)))) {}

  HWY_INLINE V Load(const uint8_t* from) const {
    const hn::Repartition<uint8_t, D> d8;
    return hn::BitCast(d, hn::LoadU(d8, from));
  }
  HWY_INLINE void Store(V lanes, uint8_t* to) const {
    const hn::Repartition<uint8_t, D> d8;
    hn::StoreU(hn::BitCast(d8, lanes), d8, to);
  }
  HWY_INLINE V SpreadTopBit(V v) const {
    const hn::RebindToSigned<D> di;
    return hn::BitCast(d, hn::BroadcastSignBit(hn::BitCast(di, v)));
  }
  HWY_INLINE V ToOrdered(V lanes) const {
    if (sign_magnitude) lanes = hn::Xor(lanes, hn::Or(SpreadTopBit(lanes), hn::SignBit(d)));
    return hn::And(lanes, keep);
  }
  HWY_INLINE V FromOrdered(V ordered) const {
    if (sign_magnitude) {
      ordered = hn::Xor(ordered, hn::Or(hn::Not(SpreadTopBit(ordered)), hn::SignBit(d)));
    }
    return hn::And(ordered, keep);
  }
  HWY_INLINE V ToDirect(V lanes) const {
    const V dropped = hn::ShiftRightSame(hn::And(lanes, magnitude), zero_bits);
    if (!sign_magnitude) return dropped;
    return hn::Or(hn::Add(dropped, dropped), hn::ShiftRight<8 * sizeof(T) - 1>(lanes));
  }
  HWY_INLINE V FromDirect(V code) const {
    if (!sign_magnitude) return hn::ShiftLeftSame(code, zero_bits);
    const V value = hn::ShiftLeftSame(hn::ShiftRight<1>(code), zero_bits);
    return hn::Or(hn::And(value, magnitude), hn::ShiftLeft<8 * sizeof(T) - 1>(code));
  }
  HWY_INLINE V ClassOf(V parent, const ClassMap& map) const {
    const V first = hn::Set(d, static_cast<T>(map.first));
    const V field = hn::ShiftRightSame(hn::And(parent, magnitude), map.shift);
    const V above = hn::Sub(hn::Max(field, first), first);
    return hn::Min(above, hn::Set(d, static_cast<T>(map.count - 1)));
  }
  HWY_INLINE V Difference(V target, V parent) const {
    const hn::RebindToSigned<D> di;
    const V difference = hn::Sub(ToOrdered(target), ToOrdered(parent));
    return hn::BitCast(d, hn::ShiftRightSame(hn::BitCast(di, difference), zero_bits));
  }
  HWY_INLINE V Sum(V parent, V value) const {
    return FromOrdered(hn::Add(ToOrdered(parent), hn::ShiftLeftSame(value, zero_bits)));
  }
};

#endif

#if HWY_TARGET != HWY_SCALAR

template <typename T>
size_t CountLoop(LaneFormat format, ClassMap map, const uint8_t* parent, size_t lanes,
                 size_t* counts) {
  const VectorMaths<T> maths(format, map);
  const size_t step = hn::Lanes(maths.d);
  std::array<size_t, kMaxClasses> found{};
  size_t i = 0;
  for (; i + step <= lanes; i += step) {
    const auto classes = maths.ClassOf(maths.Load(parent + i * sizeof(T)), map);
    ForEachClass(maths.d, classes, map.count,
                 [&](int c, auto mask) HWY_ATTR { found[c] += hn::CountTrue(maths.d, mask); });
  }
  std::copy(found.begin(), found.begin() + map.count, counts);
  return i;
}

size_t CountSimd(LaneFormat format, const ClassMap& map, const uint8_t* parent, size_t lanes,
                 size_t* counts) {
  switch (format.lane_bytes) {
    case 2:
      return CountLoop<uint16_t>(format, map, parent, lanes, counts);
    case 4:
      return CountLoop<uint32_t>(format, map, parent, lanes, counts);
    default:
      return 0;
  }
}

#else

size_t CountSimd(LaneFormat, const ClassMap&, const uint8_t*, size_t, size_t*) { return 0; }

#endif

#if HWY_TARGET <= HWY_AVX3

template <typename T>
size_t SplitLoop(LaneFormat format, ClassMap map, const uint8_t* target, const uint8_t* parent,
                 size_t lanes, ClassStarts& class_starts, T* values) {
  const VectorMaths<T> maths(format, map);
  using V = typename VectorMaths<T>::V;
  const size_t step = hn::Lanes(maths.d);
  const V direct_count = hn::Set(maths.d, static_cast<T>(map.direct_count));
  ClassStarts starts = class_starts;
  size_t i = 0;
  for (; i + step <= lanes; i += step) {
    const V t = maths.Load(target + i * sizeof(T));
    if (parent == nullptr) {
      hn::StoreU(maths.ToDirect(t), maths.d, values + starts[0]);
      starts[0] += step;
      continue;
    }
    const V p = maths.Load(parent + i * sizeof(T));
    const V classes = maths.ClassOf(p, map);
    V value = maths.Difference(t, p);
    if (map.direct_count > 0) {
      value = hn::IfThenElse(hn::Lt(classes, direct_count), maths.ToDirect(t), value);
    }
    ForEachClass(maths.d, classes, map.count, [&](int c, auto mask) HWY_ATTR {
      hn::StoreU(hn::Compress(value, mask), maths.d, values + starts[c]);
      starts[c] += hn::CountTrue(maths.d, mask);
    });
  }
  class_starts = starts;
  return i;
}

size_t SplitSimd(LaneFormat format, const ClassMap& map, const uint8_t* target,
                 const uint8_t* parent, size_t lanes, ClassStarts& starts, void* values) {
  switch (format.lane_bytes) {
    case 2:
      return SplitLoop(format, map, target, parent, lanes, starts, static_cast<uint16_t*>(values));
    case 4:
      return SplitLoop(format, map, target, parent, lanes, starts, static_cast<uint32_t*>(values));
    default:
      return 0;
  }
}

// The lanes of the mask get the values at `from`, in order; the others are zero.
template <class D>
HWY_INLINE hn::Vec<D> ExpandFrom(D d, hn::Mask<D> mask, const hn::TFromD<D>* from) {
  const hn::Vec<D> packed = hn::LoadU(d, from);
  if constexpr (sizeof(hn::TFromD<D>) == 4) {
    return hn::Vec<D>{_mm512_maskz_expand_epi32(mask.raw, packed.raw)};
#if HWY_TARGET <= HWY_AVX3_DL
  } else {
    return hn::Vec<D>{_mm512_maskz_expand_epi16(mask.raw, packed.raw)};
#endif
  }
  return packed;
}

template <typename T>
size_t MergeLoop(LaneFormat format, ClassMap map, const uint8_t* parent, size_t lanes,
                 ClassStarts& class_starts, const T* values, uint8_t* target) {
  const VectorMaths<T> maths(format, map);
  using V = typename VectorMaths<T>::V;
  const size_t step = hn::Lanes(maths.d);
  const V direct_count = hn::Set(maths.d, static_cast<T>(map.direct_count));
  ClassStarts starts = class_starts;
  size_t i = 0;
  for (; i + step <= lanes; i += step) {
    if (parent == nullptr) {
      maths.Store(maths.FromDirect(hn::LoadU(maths.d, values + starts[0])), target + i * sizeof(T));
      starts[0] += step;
      continue;
    }
    const V p = maths.Load(parent + i * sizeof(T));
    const V classes = maths.ClassOf(p, map);
    V value = hn::Zero(maths.d);
    ForEachClass(maths.d, classes, map.count, [&](int c, auto mask) HWY_ATTR {
      value = hn::Or(value, ExpandFrom(maths.d, mask, values + starts[c]));
      starts[c] += hn::CountTrue(maths.d, mask);
    });
    V t = maths.Sum(p, value);
    if (map.direct_count > 0) {
      t = hn::IfThenElse(hn::Lt(classes, direct_count), maths.FromDirect(value), t);
    }
    maths.Store(t, target + i * sizeof(T));
  }
  class_starts = starts;
  return i;
}

size_t MergeSimd(LaneFormat format, const ClassMap& map, const uint8_t* parent, size_t lanes,
                 ClassStarts& starts, const void* values, uint8_t* target) {
  switch (format.lane_bytes) {
#if HWY_TARGET <= HWY_AVX3_DL
    case 2:
      return MergeLoop(format, map, parent, lanes, starts, static_cast<const uint16_t*>(values),
                       target);
#endif
    case 4:
      return MergeLoop(format, map, parent, lanes, starts, static_cast<const uint32_t*>(values),
                       target);
    default:
      return 0;
  }
}

#else

size_t SplitSimd(LaneFormat, const ClassMap&, const uint8_t*, const uint8_t*, size_t, ClassStarts&,
                 void*) {
  return 0;
}
size_t MergeSimd(LaneFormat, const ClassMap&, const uint8_t*, size_t, ClassStarts&, const void*,
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

HWY_EXPORT(CountSimd);
HWY_EXPORT(SplitSimd);
HWY_EXPORT(MergeSimd);

const uint8_t* Behind(const uint8_t* lanes, size_t bytes) {
  return lanes == nullptr ? nullptr : lanes + bytes;
}

}  // namespace

void CountClasses(LaneFormat format, const ClassMap& map, const uint8_t* parent, size_t lanes,
                  size_t* counts) {
  std::fill(counts, counts + map.count, 0);
  const size_t done = HWY_DYNAMIC_DISPATCH(CountSimd)(format, map, parent, lanes, counts);
  portable::CountClasses(format, map, parent + done * format.lane_bytes, lanes - done, counts);
}

void SplitClasses(LaneFormat format, const ClassMap& map, const uint8_t* target,
                  const uint8_t* parent, size_t lanes, const ClassStarts& starts, void* values) {
  ClassStarts next = starts;
  const size_t done =
      HWY_DYNAMIC_DISPATCH(SplitSimd)(format, map, target, parent, lanes, next, values);
  const size_t bytes = done * format.lane_bytes;
  portable::SplitClasses(format, map, target + bytes, Behind(parent, bytes), lanes - done, next,
                         values);
}

void MergeClasses(LaneFormat format, const ClassMap& map, const uint8_t* parent, size_t lanes,
                  ClassStarts& starts, const void* values, uint8_t* target) {
  const size_t done =
      HWY_DYNAMIC_DISPATCH(MergeSimd)(format, map, parent, lanes, starts, values, target);
  const size_t bytes = done * format.lane_bytes;
  portable::MergeClasses(format, map, Behind(parent, bytes), lanes - done, starts, values,
                         target + bytes);
}

}  // namespace wdelta::kernels
#endif  // HWY_ONCE
