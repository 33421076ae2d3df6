// Plain C++ twins of the SIMD kernels.
#include "storage/codec/kernels/lane_kernels.h"
#include "storage/codec/kernels/lane_types.h"

namespace wdelta::kernels::portable {
namespace {

template <typename T>
T Zigzag(T difference) {
  return static_cast<T>(static_cast<T>(difference << 1) ^ SpreadTopBit(difference));
}

template <typename T>
T Unzigzag(T code) {
  return static_cast<T>((code >> 1) ^ static_cast<T>(T{0} - static_cast<T>(code & 1)));
}

template <typename T>
T RotateLeft(T bits) {
  return static_cast<T>(static_cast<T>(bits << 1) | static_cast<T>(bits >> (kBits<T> - 1)));
}

template <typename T>
T RotateRight(T bits) {
  return static_cast<T>(static_cast<T>(bits >> 1) | static_cast<T>(bits << (kBits<T> - 1)));
}

template <typename T>
void StoreToPlanes(T lane, size_t index, const Planes& planes) {
  for (size_t p = 0; p < sizeof(T); ++p) planes[p][index] = static_cast<uint8_t>(lane >> (8 * p));
}

template <typename T>
T LoadFromPlanes(const ConstPlanes& planes, size_t index) {
  T lane = 0;
  for (size_t p = 0; p < sizeof(T); ++p) {
    lane = static_cast<T>(lane | (T{planes[p][index]} << (8 * p)));
  }
  return lane;
}

template <typename T>
void SplitDeltaOf(bool sign_magnitude, const uint8_t* target, const uint8_t* parent, size_t lanes,
                  const Planes& planes) {
  for (size_t i = 0; i < lanes; ++i) {
    T t = Load<T>(target + i * sizeof(T));
    T p = Load<T>(parent + i * sizeof(T));
    if (sign_magnitude) {
      t = ToMonotone(t);
      p = ToMonotone(p);
    }
    StoreToPlanes(Zigzag(static_cast<T>(t - p)), i, planes);
  }
}

template <typename T>
void MergeDeltaOf(bool sign_magnitude, const ConstPlanes& planes, const uint8_t* parent,
                  size_t lanes, uint8_t* target) {
  for (size_t i = 0; i < lanes; ++i) {
    T p = Load<T>(parent + i * sizeof(T));
    if (sign_magnitude) p = ToMonotone(p);
    const T t = static_cast<T>(p + Unzigzag(LoadFromPlanes<T>(planes, i)));
    Store(sign_magnitude ? FromMonotone(t) : t, target + i * sizeof(T));
  }
}

template <typename T>
void SplitLanesOf(bool sign_magnitude, const uint8_t* target, size_t lanes, const Planes& planes) {
  for (size_t i = 0; i < lanes; ++i) {
    const T lane = Load<T>(target + i * sizeof(T));
    StoreToPlanes(sign_magnitude ? RotateLeft(lane) : lane, i, planes);
  }
}

template <typename T>
void MergeLanesOf(bool sign_magnitude, const ConstPlanes& planes, size_t lanes, uint8_t* target) {
  for (size_t i = 0; i < lanes; ++i) {
    const T lane = LoadFromPlanes<T>(planes, i);
    Store(sign_magnitude ? RotateRight(lane) : lane, target + i * sizeof(T));
  }
}

}  // namespace

void SplitDelta(LaneFormat format, const uint8_t* target, const uint8_t* parent, size_t lanes,
                const Planes& planes) {
  WithLaneType(format.lane_bytes, [&](auto zero) {
    SplitDeltaOf<decltype(zero)>(format.sign_magnitude, target, parent, lanes, planes);
  });
}

void MergeDelta(LaneFormat format, const ConstPlanes& planes, const uint8_t* parent, size_t lanes,
                uint8_t* target) {
  WithLaneType(format.lane_bytes, [&](auto zero) {
    MergeDeltaOf<decltype(zero)>(format.sign_magnitude, planes, parent, lanes, target);
  });
}

void SplitLanes(LaneFormat format, const uint8_t* target, size_t lanes, const Planes& planes) {
  WithLaneType(format.lane_bytes, [&](auto zero) {
    SplitLanesOf<decltype(zero)>(format.sign_magnitude, target, lanes, planes);
  });
}

void MergeLanes(LaneFormat format, const ConstPlanes& planes, size_t lanes, uint8_t* target) {
  WithLaneType(format.lane_bytes, [&](auto zero) {
    MergeLanesOf<decltype(zero)>(format.sign_magnitude, planes, lanes, target);
  });
}

}  // namespace wdelta::kernels::portable
