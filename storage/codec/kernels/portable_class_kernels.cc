// Plain C++ twins of the class kernels.
#include <algorithm>

#include "storage/codec/kernels/class_kernels.h"
#include "storage/codec/kernels/lane_types.h"

namespace wdelta::kernels {
namespace {

using portable::kBits;
using portable::kSignBit;

// The arithmetic on one lane.
template <typename T>
struct LaneMaths {
  bool sign_magnitude;
  int zero_bits;
  T keep;       // all but the zero bits
  T magnitude;  // all but the sign

  LaneMaths(LaneFormat format, const ClassMap& map)
      : sign_magnitude(format.sign_magnitude),
        zero_bits(map.zero_bits),
        keep(static_cast<T>(~T{0} << map.zero_bits)),
        magnitude(static_cast<T>(format.sign_magnitude ? static_cast<T>(~kSignBit<T>) : ~T{0})) {}

  T ToOrdered(T lane) const {
    return static_cast<T>((sign_magnitude ? portable::ToMonotone(lane) : lane) & keep);
  }
  T FromOrdered(T ordered) const {
    return static_cast<T>((sign_magnitude ? portable::FromMonotone(ordered) : ordered) & keep);
  }
  // Magnitude without its zero bits, then the sign below.
  T ToDirect(T lane) const {
    const T dropped = static_cast<T>(static_cast<T>(lane & magnitude) >> zero_bits);
    if (!sign_magnitude) return dropped;
    return static_cast<T>(static_cast<T>(dropped << 1) | static_cast<T>(lane >> (kBits<T> - 1)));
  }
  T FromDirect(T code) const {
    if (!sign_magnitude) return static_cast<T>(code << zero_bits);
    const T value = static_cast<T>(static_cast<T>(code >> 1) << zero_bits);
    return static_cast<T>(static_cast<T>(value & magnitude) |
                          static_cast<T>(code << (kBits<T> - 1)));
  }
  int ClassOf(T parent, size_t lane, const ClassMap& map) const {
    const uint64_t field = static_cast<uint64_t>(parent & magnitude) >> map.shift;
    if (map.offsets != nullptr) {
      const T sum = static_cast<T>(2 * field + map.offsets[lane]);
      const uint64_t level = sum > map.first ? sum - map.first : 0;
      return map.class_of_level[std::min<uint64_t>(level, kLevels - 1)];
    }
    const uint64_t above = field > map.first ? field - map.first : 0;
    return static_cast<int>(std::min<uint64_t>(above, map.count - 1));
  }
};

template <typename T>
void CountOf(LaneFormat format, const ClassMap& map, const uint8_t* parent, size_t lanes,
             size_t* counts) {
  const LaneMaths<T> maths(format, map);
  for (size_t i = 0; i < lanes; ++i) {
    ++counts[maths.ClassOf(portable::Load<T>(parent + i * sizeof(T)), i, map)];
  }
}

template <typename T>
void SplitOf(LaneFormat format, const ClassMap& map, const uint8_t* target, const uint8_t* parent,
             size_t lanes, ClassStarts& starts, T* values) {
  const LaneMaths<T> maths(format, map);
  for (size_t i = 0; i < lanes; ++i) {
    const T t = portable::Load<T>(target + i * sizeof(T));
    const T p = parent == nullptr ? T{0} : portable::Load<T>(parent + i * sizeof(T));
    const int c = parent == nullptr ? 0 : maths.ClassOf(p, i, map);
    T& value = values[starts[c]++];
    if (c < map.direct_count) {
      value = maths.ToDirect(t);
    } else {
      const T difference = static_cast<T>(maths.ToOrdered(t) - maths.ToOrdered(p));
      value = portable::ShiftRightSigned(difference, map.zero_bits);
    }
  }
}

template <typename T>
void MergeOf(LaneFormat format, const ClassMap& map, const uint8_t* parent, size_t lanes,
             ClassStarts& starts, const T* values, uint8_t* target) {
  const LaneMaths<T> maths(format, map);
  for (size_t i = 0; i < lanes; ++i) {
    const T p = parent == nullptr ? T{0} : portable::Load<T>(parent + i * sizeof(T));
    const int c = parent == nullptr ? 0 : maths.ClassOf(p, i, map);
    const T value = values[starts[c]++];
    const T t = c < map.direct_count
                    ? maths.FromDirect(value)
                    : maths.FromOrdered(static_cast<T>(maths.ToOrdered(p) +
                                                       static_cast<T>(value << map.zero_bits)));
    portable::Store(t, target + i * sizeof(T));
  }
}

}  // namespace

namespace portable {

void FillOffsets(const RowGeometry& geometry, const uint8_t* rows, const uint8_t* columns,
                 size_t lanes, uint8_t* offsets) {
  size_t column = geometry.row_lanes - geometry.first_row_lanes;
  for (size_t i = 0; i < lanes; ++i) {
    offsets[i] = static_cast<uint8_t>(*rows + columns[column]);
    if (++column < geometry.row_lanes) continue;
    column = 0;
    ++rows;
  }
}

void CountClasses(LaneFormat format, const ClassMap& map, const uint8_t* parent, size_t lanes,
                  size_t* counts) {
  WithLaneType(format.lane_bytes,
               [&](auto zero) { CountOf<decltype(zero)>(format, map, parent, lanes, counts); });
}

void SplitClasses(LaneFormat format, const ClassMap& map, const uint8_t* target,
                  const uint8_t* parent, size_t lanes, ClassStarts& starts, void* values) {
  WithLaneType(format.lane_bytes, [&](auto zero) {
    SplitOf(format, map, target, parent, lanes, starts, static_cast<decltype(zero)*>(values));
  });
}

void MergeClasses(LaneFormat format, const ClassMap& map, const uint8_t* parent, size_t lanes,
                  ClassStarts& starts, const void* values, uint8_t* target) {
  WithLaneType(format.lane_bytes, [&](auto zero) {
    MergeOf(format, map, parent, lanes, starts, static_cast<const decltype(zero)*>(values), target);
  });
}

}  // namespace portable
}  // namespace wdelta::kernels
