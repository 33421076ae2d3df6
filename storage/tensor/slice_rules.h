// Which part of which tensor is wanted: rules by tensor name, the first that matches
// decides. Pure functions; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/tensor/tensor_slice.h"

namespace wdelta {

// Positions [start, stop); `stop` 0: to the end of the axis.
struct AxisRange {
  uint64_t start = 0;
  uint64_t stop = 0;
};

// One of `count` equal parts.
struct AxisShard {
  uint32_t index = 0;
  uint32_t count = 0;
};

struct SliceRule {
  std::string name_pattern;  // a shell pattern; empty: every tensor that has the axis
  uint32_t axis = 0;
  std::variant<AxisRange, AxisShard> part;
};

// What can be told without a tensor. INVALID_ARGUMENT (`BAD_SLICE`), naming field, expected
// and found.
absl::Status ValidateSliceRule(const SliceRule& rule);

// The first rule for this tensor; null: none.
const SliceRule* FirstRuleFor(const std::vector<SliceRule>& rules, const TensorInfo& tensor);

// The slice that a rule for this tensor asks for; nullopt: the slice is all of it. The rule must
// be valid. Errors: as TensorSlice::Make, also where the rule names tensors that lack its axis;
// INVALID_ARGUMENT (`UNEVEN_SHARD`).
absl::StatusOr<std::optional<TensorSlice>> SliceBy(const SliceRule& rule, const TensorInfo& tensor);

// Likewise of the first rule for this tensor; nullopt too when there is none.
absl::StatusOr<std::optional<TensorSlice>> SliceOf(const std::vector<SliceRule>& rules,
                                                   const TensorInfo& tensor);

}  // namespace wdelta
