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
#include "storage/codec/kernels/class_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wdelta::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

void FillOffsetsSimd(const RowGeometry& geometry, const uint8_t* rows, const uint8_t* columns,
                     size_t lanes, uint8_t* offsets) {
  const hn::ScalableTag<uint8_t> d;
  const size_t step = hn::Lanes(d);
  size_t column = geometry.row_lanes - geometry.first_row_lanes;
  for (size_t at = 0; at < lanes; ++rows) {
    const size_t count = HWY_MIN(geometry.row_lanes - column, lanes - at);
    const auto row = hn::Set(d, *rows);
    // What is written behind a row is written over by the next.
    for (size_t i = 0; i < count; i += step) {
      hn::StoreU(hn::Add(row, hn::LoadU(d, columns + column + i)), d, offsets + at + i);
    }
    at += count;
    column = 0;
  }
}

#if HWY_TARGET != HWY_SCALAR

// The loops below work on copies of the map and of the starts: what is written through a
// pointer to bytes cannot change those.

// Calls `visit` with the number and the mask of every class that may have a lane. The
// kCommon uppermost hold nearly all: of the others it asks first whether there is any.
template <int kCommon, class D, class Visit>
HWY_INLINE void ForEachClass(D d, hn::Vec<D> classes, int count, Visit visit) {
  using T = hn::TFromD<D>;
  const int common = HWY_MAX(0, count - kCommon);
  if (HWY_LIKELY(count >= kCommon)) {
    const hn::Vec<D> first = hn::Set(d, static_cast<T>(common));
#pragma GCC unroll 16
    for (int c = 0; c < kCommon; ++c) {
      visit(common + c, hn::Eq(classes, hn::Add(first, hn::Set(d, static_cast<T>(c)))));
    }
  } else {
    for (int c = 0; c < count; ++c) visit(c, hn::Eq(classes, hn::Set(d, static_cast<T>(c))));
  }
  if (common == 0 || hn::AllFalse(d, hn::Lt(classes, hn::Set(d, static_cast<T>(common))))) return;
  for (int c = 0; c < common; ++c) visit(c, hn::Eq(classes, hn::Set(d, static_cast<T>(c))));
}

#if HWY_TARGET <= HWY_AVX3
// Loops over as many classes as there mostly are.
constexpr int kManyLevels = 16;
template <typename T>
using FewLevelClasses = LevelClasses<T, 12>;
template <typename T>
using ManyLevelClasses = LevelClasses<T, kManyLevels>;
#endif

template <typename T, class Classes>
size_t CountLoop(LaneFormat format, ClassMap map, const uint8_t* parent, size_t lanes,
                 size_t* counts) {
  const VectorMaths<T> maths(format, map);
  const Classes class_of(maths, map);
  const size_t step = hn::Lanes(maths.d);
  std::array<size_t, kMaxClasses> found{};
  size_t i = 0;
  for (; i + step <= lanes; i += step) {
    const auto classes = class_of.Of(maths.Load(parent + i * sizeof(T)), i);
    ForEachClass<Classes::kCommon>(maths.d, classes, map.count, [&](int c, auto mask) HWY_ATTR {
      found[c] += hn::CountTrue(maths.d, mask);
    });
  }
  std::copy(found.begin(), found.begin() + map.count, counts);
  return i;
}

template <typename T>
size_t CountLanes(LaneFormat format, const ClassMap& map, const uint8_t* parent, size_t lanes,
                  size_t* counts) {
  if (map.offsets == nullptr) {
    return CountLoop<T, FieldClasses<T>>(format, map, parent, lanes, counts);
  }
#if HWY_TARGET <= HWY_AVX3
  return CountLoop<T, FewLevelClasses<T>>(format, map, parent, lanes, counts);
#else
  return 0;
#endif
}

size_t CountSimd(LaneFormat format, const ClassMap& map, const uint8_t* parent, size_t lanes,
                 size_t* counts) {
  switch (format.lane_bytes) {
    case 2:
      return CountLanes<uint16_t>(format, map, parent, lanes, counts);
    case 4:
      return CountLanes<uint32_t>(format, map, parent, lanes, counts);
    default:
      return 0;
  }
}

#else

size_t CountSimd(LaneFormat, const ClassMap&, const uint8_t*, size_t, size_t*) { return 0; }

#endif

#if HWY_TARGET <= HWY_AVX3

template <template <typename> class Classes, typename T>
size_t SplitLoop(LaneFormat format, ClassMap map, const uint8_t* target, const uint8_t* parent,
                 size_t lanes, ClassStarts& class_starts, T* values) {
  const VectorMaths<T> maths(format, map);
  const Classes<T> class_of(maths, map);
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
    const V classes = class_of.Of(p, i);
    V value = maths.Difference(t, p);
    if (map.direct_count > 0) {
      value = hn::IfThenElse(hn::Lt(classes, direct_count), maths.ToDirect(t), value);
    }
    ForEachClass<Classes<T>::kCommon>(maths.d, classes, map.count, [&](int c, auto mask) HWY_ATTR {
      hn::StoreU(hn::Compress(value, mask), maths.d, values + starts[c]);
      starts[c] += hn::CountTrue(maths.d, mask);
    });
  }
  class_starts = starts;
  return i;
}

template <typename T>
size_t SplitLanes(LaneFormat format, const ClassMap& map, const uint8_t* target,
                  const uint8_t* parent, size_t lanes, ClassStarts& starts, T* values) {
  if (map.offsets == nullptr) {
    return SplitLoop<FieldClasses>(format, map, target, parent, lanes, starts, values);
  }
  return map.count < kManyLevels
             ? SplitLoop<FewLevelClasses>(format, map, target, parent, lanes, starts, values)
             : SplitLoop<ManyLevelClasses>(format, map, target, parent, lanes, starts, values);
}

size_t SplitSimd(LaneFormat format, const ClassMap& map, const uint8_t* target,
                 const uint8_t* parent, size_t lanes, ClassStarts& starts, void* values) {
  switch (format.lane_bytes) {
    case 2:
      return SplitLanes(format, map, target, parent, lanes, starts, static_cast<uint16_t*>(values));
    case 4:
      return SplitLanes(format, map, target, parent, lanes, starts, static_cast<uint32_t*>(values));
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

template <template <typename> class Classes, typename T>
size_t MergeLoop(LaneFormat format, ClassMap map, const uint8_t* parent, size_t lanes,
                 ClassStarts& class_starts, const T* values, uint8_t* target) {
  const VectorMaths<T> maths(format, map);
  const Classes<T> class_of(maths, map);
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
    const V classes = class_of.Of(p, i);
    V value = hn::Zero(maths.d);
    ForEachClass<Classes<T>::kCommon>(maths.d, classes, map.count, [&](int c, auto mask) HWY_ATTR {
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

template <typename T>
size_t MergeLanes(LaneFormat format, const ClassMap& map, const uint8_t* parent, size_t lanes,
                  ClassStarts& starts, const T* values, uint8_t* target) {
  if (map.offsets == nullptr) {
    return MergeLoop<FieldClasses>(format, map, parent, lanes, starts, values, target);
  }
  return map.count < kManyLevels
             ? MergeLoop<FewLevelClasses>(format, map, parent, lanes, starts, values, target)
             : MergeLoop<ManyLevelClasses>(format, map, parent, lanes, starts, values, target);
}

size_t MergeSimd(LaneFormat format, const ClassMap& map, const uint8_t* parent, size_t lanes,
                 ClassStarts& starts, const void* values, uint8_t* target) {
  switch (format.lane_bytes) {
#if HWY_TARGET <= HWY_AVX3_DL
    case 2:
      return MergeLanes(format, map, parent, lanes, starts, static_cast<const uint16_t*>(values),
                        target);
#endif
    case 4:
      return MergeLanes(format, map, parent, lanes, starts, static_cast<const uint32_t*>(values),
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

HWY_EXPORT(FillOffsetsSimd);
HWY_EXPORT(CountSimd);
HWY_EXPORT(SplitSimd);
HWY_EXPORT(MergeSimd);

const uint8_t* Behind(const uint8_t* lanes, size_t bytes) {
  return lanes == nullptr ? nullptr : lanes + bytes;
}

// The map of the lanes from `done` on.
ClassMap Behind(const ClassMap& map, size_t done) {
  ClassMap behind = map;
  if (map.offsets != nullptr) behind.offsets += done;
  return behind;
}

}  // namespace

void FillOffsets(const RowGeometry& geometry, const uint8_t* rows, const uint8_t* columns,
                 size_t lanes, uint8_t* offsets) {
  HWY_DYNAMIC_DISPATCH(FillOffsetsSimd)(geometry, rows, columns, lanes, offsets);
}

void CountClasses(LaneFormat format, const ClassMap& map, const uint8_t* parent, size_t lanes,
                  size_t* counts) {
  std::fill(counts, counts + map.count, 0);
  const size_t done = HWY_DYNAMIC_DISPATCH(CountSimd)(format, map, parent, lanes, counts);
  portable::CountClasses(format, Behind(map, done), parent + done * format.lane_bytes, lanes - done,
                         counts);
}

void SplitClasses(LaneFormat format, const ClassMap& map, const uint8_t* target,
                  const uint8_t* parent, size_t lanes, const ClassStarts& starts, void* values) {
  ClassStarts next = starts;
  const size_t done =
      HWY_DYNAMIC_DISPATCH(SplitSimd)(format, map, target, parent, lanes, next, values);
  const size_t bytes = done * format.lane_bytes;
  portable::SplitClasses(format, Behind(map, done), target + bytes, Behind(parent, bytes),
                         lanes - done, next, values);
}

void MergeClasses(LaneFormat format, const ClassMap& map, const uint8_t* parent, size_t lanes,
                  ClassStarts& starts, const void* values, uint8_t* target) {
  const size_t done =
      HWY_DYNAMIC_DISPATCH(MergeSimd)(format, map, parent, lanes, starts, values, target);
  const size_t bytes = done * format.lane_bytes;
  portable::MergeClasses(format, Behind(map, done), Behind(parent, bytes), lanes - done, starts,
                         values, target + bytes);
}

}  // namespace wdelta::kernels
#endif  // HWY_ONCE
