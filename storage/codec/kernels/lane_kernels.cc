// SIMD kernels. Each works in two passes over blocks that stay in the L1 cache:
// lane arithmetic into a small buffer, then the split of the buffer into planes
// (or the reverse). The lanes that fill no whole vector go to the portable twin.
#include "storage/codec/kernels/lane_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "storage/codec/kernels/lane_kernels.cc"
#include "hwy/foreach_target.h"
// foreach_target.h must come before highway.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wdelta::kernels {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR

// Without vectors the portable twin does every lane.
size_t SplitDeltaSimd(LaneFormat, const uint8_t*, const uint8_t*, size_t, const Planes&) {
  return 0;
}
size_t MergeDeltaSimd(LaneFormat, const ConstPlanes&, const uint8_t*, size_t, uint8_t*) {
  return 0;
}
size_t SplitLanesSimd(LaneFormat, const uint8_t*, size_t, const Planes&) { return 0; }
size_t MergeLanesSimd(LaneFormat, const ConstPlanes&, size_t, uint8_t*) { return 0; }

#else

namespace hn = hwy::HWY_NAMESPACE;

// Bytes of a block: a multiple of every vector size times the lane sizes.
constexpr size_t kBlockBytes = 8192;

template <class D>
HWY_INLINE hn::Vec<D> LoadLanes(D d, const uint8_t* from) {
  const hn::Repartition<uint8_t, D> d8;
  return hn::BitCast(d, hn::LoadU(d8, from));
}

template <class D, class V = hn::Vec<D> >
HWY_INLINE void StoreLanes(D d, V lanes, uint8_t* to) {
  const hn::Repartition<uint8_t, D> d8;
  hn::StoreU(hn::BitCast(d8, lanes), d8, to);
  (void)d;
}

// All ones where the top bit is set, else zero.
template <class D, class V = hn::Vec<D> >
HWY_INLINE V SpreadTopBit(D d, V v) {
  const hn::RebindToSigned<D> di;
  return hn::BitCast(d, hn::BroadcastSignBit(hn::BitCast(di, v)));
}

template <class D, class V = hn::Vec<D> >
HWY_INLINE V ToMonotone(D d, V bits) {
  return hn::Xor(bits, hn::Or(SpreadTopBit(d, bits), hn::SignBit(d)));
}

template <class D, class V = hn::Vec<D> >
HWY_INLINE V FromMonotone(D d, V monotone) {
  return hn::Xor(monotone, hn::Or(hn::Not(SpreadTopBit(d, monotone)), hn::SignBit(d)));
}

// The lane arithmetic of the four kernels. `p` is the parent's lane, or unused.
template <bool kSignMagnitude>
struct ForwardDelta {
  static constexpr bool kNeedsParent = true;
  template <class D, class V = hn::Vec<D> >
  static HWY_INLINE V Apply(D d, V t, V p) {
    if (kSignMagnitude) {
      t = ToMonotone(d, t);
      p = ToMonotone(d, p);
    }
    const V difference = hn::Sub(t, p);
    return hn::Xor(hn::Add(difference, difference), SpreadTopBit(d, difference));
  }
};

template <bool kSignMagnitude>
struct InverseDelta {
  static constexpr bool kNeedsParent = true;
  template <class D, class V = hn::Vec<D> >
  static HWY_INLINE V Apply(D d, V code, V p) {
    using T = hn::TFromD<D>;
    const V negative = hn::Sub(hn::Zero(d), hn::And(code, hn::Set(d, T{1})));
    const V difference = hn::Xor(hn::ShiftRight<1>(code), negative);
    if (!kSignMagnitude) return hn::Add(p, difference);
    return FromMonotone(d, hn::Add(ToMonotone(d, p), difference));
  }
};

template <bool kSignMagnitude>
struct ForwardLanes {
  static constexpr bool kNeedsParent = false;
  template <class D, class V = hn::Vec<D> >
  static HWY_INLINE V Apply(D d, V t, V /*unused*/) {
    constexpr int kTopBit = 8 * sizeof(hn::TFromD<D>) - 1;
    (void)d;
    if (!kSignMagnitude) return t;
    return hn::Or(hn::Add(t, t), hn::ShiftRight<kTopBit>(t));
  }
};

template <bool kSignMagnitude>
struct InverseLanes {
  static constexpr bool kNeedsParent = false;
  template <class D, class V = hn::Vec<D> >
  static HWY_INLINE V Apply(D d, V code, V /*unused*/) {
    constexpr int kTopBit = 8 * sizeof(hn::TFromD<D>) - 1;
    (void)d;
    if (!kSignMagnitude) return code;
    return hn::Or(hn::ShiftRight<1>(code), hn::ShiftLeft<kTopBit>(code));
  }
};

// to[i] = Op(from[i], parent[i]); `lanes` is a multiple of the vector's.
template <typename T, class Op>
HWY_INLINE void MapLanes(const uint8_t* from, const uint8_t* parent, size_t lanes, uint8_t* to) {
  const hn::ScalableTag<T> d;
  const size_t step = hn::Lanes(d) * sizeof(T);
  for (size_t at = 0; at < lanes * sizeof(T); at += step) {
    const auto source = LoadLanes(d, from + at);
    const auto other = Op::kNeedsParent ? LoadLanes(d, parent + at) : source;
    StoreLanes(d, Op::Apply(d, source, other), to + at);
  }
}

// The byte planes of `lanes` lanes, a multiple of the lanes of a byte vector.
template <size_t kLaneBytes>
HWY_INLINE void SplitBytes(const uint8_t* from, size_t lanes, const Planes& planes, size_t at) {
  const hn::ScalableTag<uint8_t> d;
  using V = hn::Vec<decltype(d)>;
  const size_t step = hn::Lanes(d);
  for (size_t i = 0; i < lanes; i += step) {
    V v0, v1, v2, v3;
    if (kLaneBytes == 2) {
      hn::LoadInterleaved2(d, from + 2 * i, v0, v1);
    } else {
      hn::LoadInterleaved4(d, from + 4 * i, v0, v1, v2, v3);
      hn::StoreU(v2, d, planes[2] + at + i);
      hn::StoreU(v3, d, planes[3] + at + i);
    }
    hn::StoreU(v0, d, planes[0] + at + i);
    hn::StoreU(v1, d, planes[1] + at + i);
  }
}

template <size_t kLaneBytes>
HWY_INLINE void MergeBytes(const ConstPlanes& planes, size_t at, size_t lanes, uint8_t* to) {
  const hn::ScalableTag<uint8_t> d;
  const size_t step = hn::Lanes(d);
  for (size_t i = 0; i < lanes; i += step) {
    const auto v0 = hn::LoadU(d, planes[0] + at + i);
    const auto v1 = hn::LoadU(d, planes[1] + at + i);
    if (kLaneBytes == 2) {
      hn::StoreInterleaved2(v0, v1, d, to + 2 * i);
    } else {
      const auto v2 = hn::LoadU(d, planes[2] + at + i);
      const auto v3 = hn::LoadU(d, planes[3] + at + i);
      hn::StoreInterleaved4(v0, v1, v2, v3, d, to + 4 * i);
    }
  }
}

// 8-byte lanes are split by way of the planes of their even and odd bytes: bytes
// 0 2 4 6 of a lane are the bytes of one 4-byte lane, 1 3 5 7 those of another.
template <>
HWY_INLINE void SplitBytes<8>(const uint8_t* from, size_t lanes, const Planes& planes, size_t at) {
  HWY_ALIGN uint8_t even[kBlockBytes / 2];
  HWY_ALIGN uint8_t odd[kBlockBytes / 2];
  SplitBytes<2>(from, 4 * lanes, Planes{even, odd}, 0);
  SplitBytes<4>(even, lanes, Planes{planes[0], planes[2], planes[4], planes[6]}, at);
  SplitBytes<4>(odd, lanes, Planes{planes[1], planes[3], planes[5], planes[7]}, at);
}

template <>
HWY_INLINE void MergeBytes<8>(const ConstPlanes& planes, size_t at, size_t lanes, uint8_t* to) {
  HWY_ALIGN uint8_t even[kBlockBytes / 2];
  HWY_ALIGN uint8_t odd[kBlockBytes / 2];
  MergeBytes<4>(ConstPlanes{planes[0], planes[2], planes[4], planes[6]}, at, lanes, even);
  MergeBytes<4>(ConstPlanes{planes[1], planes[3], planes[5], planes[7]}, at, lanes, odd);
  MergeBytes<2>(ConstPlanes{even, odd}, 0, 4 * lanes, to);
}

// Both return the lanes done: all but those that fill no whole byte vector.
template <typename T, class Op>
HWY_INLINE size_t SplitMapped(const uint8_t* target, const uint8_t* parent, size_t lanes,
                              const Planes& planes) {
  const size_t done = lanes - lanes % hn::Lanes(hn::ScalableTag<uint8_t>());
  if (sizeof(T) == 1) {
    MapLanes<T, Op>(target, parent, done, planes[0]);
    return done;
  }
  HWY_ALIGN uint8_t block[kBlockBytes];
  constexpr size_t kBlockLanes = kBlockBytes / sizeof(T);
  for (size_t at = 0; at < done; at += kBlockLanes) {
    const size_t count = HWY_MIN(kBlockLanes, done - at);
    const uint8_t* parent_at = Op::kNeedsParent ? parent + at * sizeof(T) : nullptr;
    MapLanes<T, Op>(target + at * sizeof(T), parent_at, count, block);
    SplitBytes<sizeof(T) == 1 ? 2 : sizeof(T)>(block, count, planes, at);
  }
  return done;
}

template <typename T, class Op>
HWY_INLINE size_t MergeMapped(const ConstPlanes& planes, const uint8_t* parent, size_t lanes,
                              uint8_t* target) {
  const size_t done = lanes - lanes % hn::Lanes(hn::ScalableTag<uint8_t>());
  if (sizeof(T) == 1) {
    MapLanes<T, Op>(planes[0], parent, done, target);
    return done;
  }
  HWY_ALIGN uint8_t block[kBlockBytes];
  constexpr size_t kBlockLanes = kBlockBytes / sizeof(T);
  for (size_t at = 0; at < done; at += kBlockLanes) {
    const size_t count = HWY_MIN(kBlockLanes, done - at);
    const uint8_t* parent_at = Op::kNeedsParent ? parent + at * sizeof(T) : nullptr;
    MergeBytes<sizeof(T) == 1 ? 2 : sizeof(T)>(planes, at, count, block);
    MapLanes<T, Op>(block, parent_at, count, target + at * sizeof(T));
  }
  return done;
}

template <class Op>
size_t SplitWith(int lane_bytes, const uint8_t* target, const uint8_t* parent, size_t lanes,
                 const Planes& planes) {
  switch (lane_bytes) {
    case 1:
      return SplitMapped<uint8_t, Op>(target, parent, lanes, planes);
    case 2:
      return SplitMapped<uint16_t, Op>(target, parent, lanes, planes);
    case 4:
      return SplitMapped<uint32_t, Op>(target, parent, lanes, planes);
    default:
      return SplitMapped<uint64_t, Op>(target, parent, lanes, planes);
  }
}

template <class Op>
size_t MergeWith(int lane_bytes, const ConstPlanes& planes, const uint8_t* parent, size_t lanes,
                 uint8_t* target) {
  switch (lane_bytes) {
    case 1:
      return MergeMapped<uint8_t, Op>(planes, parent, lanes, target);
    case 2:
      return MergeMapped<uint16_t, Op>(planes, parent, lanes, target);
    case 4:
      return MergeMapped<uint32_t, Op>(planes, parent, lanes, target);
    default:
      return MergeMapped<uint64_t, Op>(planes, parent, lanes, target);
  }
}

size_t SplitDeltaSimd(LaneFormat format, const uint8_t* target, const uint8_t* parent, size_t lanes,
                      const Planes& planes) {
  const auto split =
      format.sign_magnitude ? &SplitWith<ForwardDelta<true> > : &SplitWith<ForwardDelta<false> >;
  return split(format.lane_bytes, target, parent, lanes, planes);
}

size_t MergeDeltaSimd(LaneFormat format, const ConstPlanes& planes, const uint8_t* parent,
                      size_t lanes, uint8_t* target) {
  const auto merge =
      format.sign_magnitude ? &MergeWith<InverseDelta<true> > : &MergeWith<InverseDelta<false> >;
  return merge(format.lane_bytes, planes, parent, lanes, target);
}

size_t SplitLanesSimd(LaneFormat format, const uint8_t* target, size_t lanes,
                      const Planes& planes) {
  const auto split =
      format.sign_magnitude ? &SplitWith<ForwardLanes<true> > : &SplitWith<ForwardLanes<false> >;
  return split(format.lane_bytes, target, nullptr, lanes, planes);
}

size_t MergeLanesSimd(LaneFormat format, const ConstPlanes& planes, size_t lanes, uint8_t* target) {
  const auto merge =
      format.sign_magnitude ? &MergeWith<InverseLanes<true> > : &MergeWith<InverseLanes<false> >;
  return merge(format.lane_bytes, planes, nullptr, lanes, target);
}

#endif  // HWY_TARGET == HWY_SCALAR

}  // namespace HWY_NAMESPACE
}  // namespace wdelta::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wdelta::kernels {
namespace {

HWY_EXPORT(SplitDeltaSimd);
HWY_EXPORT(MergeDeltaSimd);
HWY_EXPORT(SplitLanesSimd);
HWY_EXPORT(MergeLanesSimd);

// The planes from lane `done` on.
template <class PointerArray>
PointerArray Advance(LaneFormat format, PointerArray planes, size_t done) {
  for (int p = 0; p < format.lane_bytes; ++p) planes[p] += done;
  return planes;
}

}  // namespace

void SplitDelta(LaneFormat format, const uint8_t* target, const uint8_t* parent, size_t lanes,
                const Planes& planes) {
  const size_t done = HWY_DYNAMIC_DISPATCH(SplitDeltaSimd)(format, target, parent, lanes, planes);
  const size_t done_bytes = done * format.lane_bytes;
  portable::SplitDelta(format, target + done_bytes, parent + done_bytes, lanes - done,
                       Advance(format, planes, done));
}

void MergeDelta(LaneFormat format, const ConstPlanes& planes, const uint8_t* parent, size_t lanes,
                uint8_t* target) {
  const size_t done = HWY_DYNAMIC_DISPATCH(MergeDeltaSimd)(format, planes, parent, lanes, target);
  const size_t done_bytes = done * format.lane_bytes;
  portable::MergeDelta(format, Advance(format, planes, done), parent + done_bytes, lanes - done,
                       target + done_bytes);
}

void SplitLanes(LaneFormat format, const uint8_t* target, size_t lanes, const Planes& planes) {
  const size_t done = HWY_DYNAMIC_DISPATCH(SplitLanesSimd)(format, target, lanes, planes);
  portable::SplitLanes(format, target + done * format.lane_bytes, lanes - done,
                       Advance(format, planes, done));
}

void MergeLanes(LaneFormat format, const ConstPlanes& planes, size_t lanes, uint8_t* target) {
  const size_t done = HWY_DYNAMIC_DISPATCH(MergeLanesSimd)(format, planes, lanes, target);
  portable::MergeLanes(format, Advance(format, planes, done), lanes - done,
                       target + done * format.lane_bytes);
}

}  // namespace wdelta::kernels
#endif  // HWY_ONCE
