// How the class modes see a chunk: which classes, which bits raw, at what cost.
// Decided from samples, without coding anything. Any choice decodes; a good one is
// small. No state: any thread may call it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "storage/codec/codec.h"
#include "storage/codec/kernels/class_kernels.h"
#include "storage/codec/kernels/value_kernels.h"

namespace wdelta {

// How far the changes of a row, and of a column, are below those of others, in half octaves.
struct ScaleClasses {
  kernels::RowGeometry geometry;
  std::vector<uint8_t> rows;
  std::vector<uint8_t> columns;  // geometry.row_lanes of them
};

struct ClassPlan {
  kernels::ClassMap map;               // without offsets: those of the scales are left out
  std::optional<ScaleClasses> scales;  // absent: classes by the parent's magnitude alone
  double bits = 0;                     // estimate of the payload
};

// Classes by the parent's exponent, differences to the parent. Where the parent is
// small beside the change, the sign crosses zero and differences jump, so that the
// target's own bits cost less: the lowest classes are direct then.
ClassPlan PlanDelta(LaneFormat format, const uint8_t* target, const uint8_t* parent, size_t lanes);

// One class, the target's own bits.
ClassPlan PlanDirect(LaneFormat format, const uint8_t* target, size_t lanes);

// How to make symbols of the values of one class, `count` of them.
kernels::ValueFormat PlanValues(LaneFormat format, const kernels::ClassMap& map, bool is_direct,
                                const void* values, size_t count);

}  // namespace wdelta
