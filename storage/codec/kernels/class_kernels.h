// The lane arithmetic of the class modes: lanes to values ordered by class, and back.
// Specified in storage/wdelta/FORMAT.md
// ("Classes").
//
// `kernels` runs on the best instruction set of the CPU (Highway, chosen at run
// time), `kernels::portable` is its plain twin and serves as its tail. Both give the
// same bytes. No state: any thread may call them. Values are lanes too, as wide and
// as little-endian as the chunk's; arrays of them are aligned for their type.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "storage/codec/codec.h"

namespace wdelta::kernels {

inline constexpr int kMaxClasses = 32;
inline constexpr int kLevels = 32;
// Lanes that SIMD may touch behind the end of a class's values.
inline constexpr size_t kValueSlack = 64;

// How lanes fall into classes by the parent's magnitude, and by their row and column.
struct ClassMap {
  int zero_bits = 0;     // low bits that are zero in all lanes
  int shift = 0;         // magnitude >> shift is the field; at least zero_bits
  uint64_t first = 0;    // field of class 0 and below; of level 0 where there are offsets
  int count = 1;         // the last class has all fields above too
  int direct_count = 0;  // the values of these first classes are the target's own codes
  // Not null: one for each lane. Its level is then twice the field plus this, modulo the lane,
  // from `first` on and below kLevels, and the class that of the level.
  const uint8_t* offsets = nullptr;
  std::array<uint8_t, kLevels> class_of_level{};
};

// Rows of lanes, of which a chunk has whole ones but for the first and the last.
struct RowGeometry {
  size_t row_lanes = 1;
  size_t first_row_lanes = 1;  // at most row_lanes

  // Rows of `lanes` lanes, at least one.
  size_t Rows(size_t lanes) const {
    if (first_row_lanes >= lanes) return 1;
    return 1 + (lanes - first_row_lanes + row_lanes - 1) / row_lanes;
  }
};

// Where the values of each class begin, in lanes from the start of the array.
using ClassStarts = std::array<size_t, kMaxClasses>;

// offsets[i] is the class of lane i's row plus that of its column, modulo 256. SIMD may read
// and write kValueSlack bytes behind `columns` and `offsets`.
void FillOffsets(const RowGeometry& geometry, const uint8_t* rows, const uint8_t* columns,
                 size_t lanes, uint8_t* offsets);

// Lanes of each of the map.count classes.
void CountClasses(LaneFormat format, const ClassMap& map, const uint8_t* parent, size_t lanes,
                  size_t* counts);

// Values in order of class, then position. `parent` is null when map.count is 1 and
// class 0 is direct. There is room for kValueSlack lanes behind each class.
void SplitClasses(LaneFormat format, const ClassMap& map, const uint8_t* target,
                  const uint8_t* parent, size_t lanes, const ClassStarts& starts, void* values);

// Inverse of SplitClasses. Where each class's values ended is left in `starts`: a
// class may be read beyond its own values, by `lanes` and kValueSlack at most, when
// the counts that `starts` came from are not those of the parent.
void MergeClasses(LaneFormat format, const ClassMap& map, const uint8_t* parent, size_t lanes,
                  ClassStarts& starts, const void* values, uint8_t* target);

namespace portable {

void FillOffsets(const RowGeometry& geometry, const uint8_t* rows, const uint8_t* columns,
                 size_t lanes, uint8_t* offsets);
// Adds to `counts`.
void CountClasses(LaneFormat format, const ClassMap& map, const uint8_t* parent, size_t lanes,
                  size_t* counts);
void SplitClasses(LaneFormat format, const ClassMap& map, const uint8_t* target,
                  const uint8_t* parent, size_t lanes, ClassStarts& starts, void* values);
void MergeClasses(LaneFormat format, const ClassMap& map, const uint8_t* parent, size_t lanes,
                  ClassStarts& starts, const void* values, uint8_t* target);
}  // namespace portable
}  // namespace wdelta::kernels
