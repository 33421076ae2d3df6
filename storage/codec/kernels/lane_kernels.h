// The arithmetic of the plane modes: lanes to byte planes and back.
//
// Two twins of the same functions: `kernels` runs on the best instruction set of
// the CPU (Highway, chosen at run time), `kernels::portable` is plain C++ and also
// serves as the tail of the former. Both give the same bytes on every input.
// No state: any thread may call them. Pointers need no alignment; sources and
// destinations must not overlap.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "storage/codec/codec.h"

namespace wdelta::kernels {

inline constexpr size_t kMaxLaneBytes = 8;

// Plane i holds byte i (least significant first) of every lane; only the first
// `lane_bytes` pointers are used.
using Planes = std::array<uint8_t*, kMaxLaneBytes>;
using ConstPlanes = std::array<const uint8_t*, kMaxLaneBytes>;

// Planes of zigzag(u(target) - u(parent)), where u is the monotone map when
// `format.sign_magnitude` and the identity otherwise.
void SplitDelta(LaneFormat format, const uint8_t* target, const uint8_t* parent, size_t lanes,
                const Planes& planes);
// Inverse of SplitDelta: fills `lanes` lanes of `target`.
void MergeDelta(LaneFormat format, const ConstPlanes& planes, const uint8_t* parent, size_t lanes,
                uint8_t* target);

// Planes of the lanes themselves, rotated left by one bit when
// `format.sign_magnitude`: the sign goes to the bottom, so that the exponent bits
// of BF16 and F32 share a plane.
void SplitLanes(LaneFormat format, const uint8_t* target, size_t lanes, const Planes& planes);
// Inverse of SplitLanes.
void MergeLanes(LaneFormat format, const ConstPlanes& planes, size_t lanes, uint8_t* target);

namespace portable {

void SplitDelta(LaneFormat format, const uint8_t* target, const uint8_t* parent, size_t lanes,
                const Planes& planes);
void MergeDelta(LaneFormat format, const ConstPlanes& planes, const uint8_t* parent, size_t lanes,
                uint8_t* target);
void SplitLanes(LaneFormat format, const uint8_t* target, size_t lanes, const Planes& planes);
void MergeLanes(LaneFormat format, const ConstPlanes& planes, size_t lanes, uint8_t* target);

}  // namespace portable
}  // namespace wdelta::kernels
