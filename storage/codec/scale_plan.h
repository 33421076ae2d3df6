// Classes by row and column as well as by the parent's exponent, for scaled-delta: how much
// more or less than others they change is told beside the payload. Any choice decodes; a good
// one is small. No state: any thread may call it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "storage/codec/class_plan.h"
#include "storage/codec/codec.h"

namespace wdelta {

// `delta` is the plan of PlanDelta for the same lanes. nullopt where lanes have no exponent,
// or the chunk has less than a few rows.
std::optional<ClassPlan> PlanScaledDelta(LaneFormat format, const ChunkGeometry& geometry,
                                         const ClassPlan& delta, const uint8_t* target,
                                         const uint8_t* parent, size_t lanes);

}  // namespace wdelta
