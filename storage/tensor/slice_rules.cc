#include "storage/tensor/slice_rules.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/shell_pattern.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

absl::Status BadSlice(absl::string_view what) {
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_SLICE", what);
}

bool AppliesTo(const SliceRule& rule, const TensorInfo& tensor) {
  if (rule.name_pattern.empty()) return rule.axis < tensor.shape.size();
  return MatchesPattern(rule.name_pattern, tensor.name);
}

absl::StatusOr<AxisSlice> PositionsOf(const SliceRule& rule, const TensorInfo& tensor) {
  AxisSlice slice{rule.axis, 0, 0};
  // TensorSlice::Make tells what is wrong.
  if (rule.axis >= tensor.shape.size()) return slice;
  const uint64_t length = tensor.shape[rule.axis];
  if (const auto* const range = std::get_if<AxisRange>(&rule.part)) {
    slice.start = range->start;
    slice.stop = range->stop == 0 ? length : range->stop;
    return slice;
  }
  const AxisShard& shard = std::get<AxisShard>(rule.part);
  if (length % shard.count != 0) {
    return MakeError(
        absl::StatusCode::kInvalidArgument, "UNEVEN_SHARD",
        absl::StrCat("tensor '", absl::CHexEscape(tensor.name), "': axis ", rule.axis,
                     ": expected a multiple of ", shard.count, " positions, found ", length),
        {{"tensor", tensor.name}});
  }
  const uint64_t part_length = length / shard.count;
  slice.start = part_length * shard.index;
  slice.stop = slice.start + part_length;
  return slice;
}

}  // namespace

absl::Status ValidateSliceRule(const SliceRule& rule) {
  if (rule.name_pattern.size() > limits::kMaxTensorPatternBytes) {
    return BadSlice(absl::StrCat("name_pattern: expected at most ", limits::kMaxTensorPatternBytes,
                                 " bytes, found ", rule.name_pattern.size()));
  }
  if (rule.axis >= static_cast<uint32_t>(limits::kMaxTensorDimensions)) {
    return BadSlice(absl::StrCat("axis: expected less than ", limits::kMaxTensorDimensions,
                                 ", found ", rule.axis));
  }
  if (const auto* const range = std::get_if<AxisRange>(&rule.part)) {
    if (range->stop == 0 || range->start <= range->stop) return absl::OkStatus();
    return BadSlice(absl::StrCat("range: expected a stop of at least the start ", range->start,
                                 ", found ", range->stop));
  }
  const AxisShard& shard = std::get<AxisShard>(rule.part);
  if (shard.index < shard.count) return absl::OkStatus();
  return BadSlice(absl::StrCat("shard: expected an index below the count ", shard.count, ", found ",
                               shard.index));
}

const SliceRule* FirstRuleFor(const std::vector<SliceRule>& rules, const TensorInfo& tensor) {
  const auto rule = std::find_if(rules.begin(), rules.end(),
                                 [&](const SliceRule& r) { return AppliesTo(r, tensor); });
  return rule == rules.end() ? nullptr : &*rule;
}

absl::StatusOr<std::optional<TensorSlice>> SliceBy(const SliceRule& rule,
                                                   const TensorInfo& tensor) {
  WDELTA_ASSIGN_OR_RETURN(const AxisSlice positions, PositionsOf(rule, tensor));
  const bool is_all = rule.axis < tensor.shape.size() && positions.start == 0 &&
                      positions.stop == tensor.shape[rule.axis];
  if (is_all) return std::optional<TensorSlice>();
  WDELTA_ASSIGN_OR_RETURN(TensorSlice slice, TensorSlice::Make(tensor, positions));
  return std::optional<TensorSlice>(std::move(slice));
}

absl::StatusOr<std::optional<TensorSlice>> SliceOf(const std::vector<SliceRule>& rules,
                                                   const TensorInfo& tensor) {
  const SliceRule* const rule = FirstRuleFor(rules, tensor);
  return rule == nullptr ? std::optional<TensorSlice>() : SliceBy(*rule, tensor);
}

}  // namespace wdelta
