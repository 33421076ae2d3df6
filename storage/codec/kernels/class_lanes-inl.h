// Vectors of lanes and their classes, for the SIMD kernels: included once for every target.
#if defined(WDELTA_CLASS_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WDELTA_CLASS_LANES_INL_H_
#undef WDELTA_CLASS_LANES_INL_H_
#else
#define WDELTA_CLASS_LANES_INL_H_
#endif

#include "hwy/highway.h"
#include "storage/codec/kernels/class_kernels.h"

HWY_BEFORE_NAMESPACE();
namespace wdelta::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET != HWY_SCALAR

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
  HWY_INLINE V FieldOf(V parent, const ClassMap& map) const {
    return hn::ShiftRightSame(hn::And(parent, magnitude), map.shift);
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

// The class of lanes whose map has no offsets.
template <typename T>
struct FieldClasses {
  static constexpr int kCommon = 10;
  using V = typename VectorMaths<T>::V;
  const VectorMaths<T>& maths;
  const ClassMap& map;

  HWY_INLINE FieldClasses(const VectorMaths<T>& lane_maths, const ClassMap& class_map)
      : maths(lane_maths), map(class_map) {}

  HWY_INLINE V Of(V parent, size_t /*lane*/) const {
    const V first = hn::Set(maths.d, static_cast<T>(map.first));
    const V above = hn::Sub(hn::Max(maths.FieldOf(parent, map), first), first);
    return hn::Min(above, hn::Set(maths.d, static_cast<T>(map.count - 1)));
  }
};

#if HWY_TARGET <= HWY_AVX3

// The class of lanes from `lane` on whose map has offsets.
template <typename T, int kCommonClasses>
struct LevelClasses {
  static constexpr int kCommon = kCommonClasses;
  using V = typename VectorMaths<T>::V;
  const VectorMaths<T>& maths;
  const ClassMap& map;
  V low;   // classes of the first levels, as many as there are lanes
  V high;  // of the others, where lanes have 4 bytes

  HWY_INLINE LevelClasses(const VectorMaths<T>& lane_maths, const ClassMap& class_map)
      : maths(lane_maths), map(class_map) {
    const hn::Rebind<uint8_t, typename VectorMaths<T>::D> d8;
    low = hn::PromoteTo(maths.d, hn::LoadU(d8, map.class_of_level.data()));
    high = low;
    if constexpr (sizeof(T) == 4) {
      high = hn::PromoteTo(maths.d, hn::LoadU(d8, map.class_of_level.data() + kLevels / 2));
    }
  }

  HWY_INLINE V Of(V parent, size_t lane) const {
    const hn::Rebind<uint8_t, typename VectorMaths<T>::D> d8;
    const V first = hn::Set(maths.d, static_cast<T>(map.first));
    const V field = maths.FieldOf(parent, map);
    const V offset = hn::PromoteTo(maths.d, hn::LoadU(d8, map.offsets + lane));
    const V sum = hn::Add(hn::Add(field, field), offset);
    const V above = hn::Sub(hn::Max(sum, first), first);
    const V level = hn::Min(above, hn::Set(maths.d, static_cast<T>(kLevels - 1)));
    if constexpr (sizeof(T) == 4) {
      return V{_mm512_permutex2var_epi32(low.raw, level.raw, high.raw)};
    } else {
      return V{_mm512_permutexvar_epi16(level.raw, low.raw)};
    }
  }
};

#endif

#endif

}  // namespace HWY_NAMESPACE
}  // namespace wdelta::kernels
HWY_AFTER_NAMESPACE();

#endif  // WDELTA_CLASS_LANES_INL_H_
