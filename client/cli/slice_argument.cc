#include "client/cli/slice_argument.h"

#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

absl::Status Bad(absl::string_view what, absl::string_view text, absl::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrCat(what, " `", text, "`: expected ", expected, ", found `", text, "`"));
}

// The rule without its part, and the text behind the last `=`. A pattern may hold `:` and `=`,
// an axis and a part none of the latter.
absl::StatusOr<std::pair<SliceRule, absl::string_view>> Split(absl::string_view what,
                                                              absl::string_view text,
                                                              absl::string_view form) {
  const size_t equals = text.rfind('=');
  if (equals == absl::string_view::npos) return Bad(what, text, form);
  absl::string_view axis = text.substr(0, equals);
  SliceRule rule;
  const size_t colon = axis.rfind(':');
  if (colon != absl::string_view::npos) {
    rule.name_pattern = std::string(axis.substr(0, colon));
    if (rule.name_pattern.empty()) return Bad(what, text, "a pattern before the `:`");
    axis.remove_prefix(colon + 1);
  }
  if (!absl::SimpleAtoi(axis, &rule.axis)) return Bad(what, text, form);
  return std::make_pair(std::move(rule), text.substr(equals + 1));
}

}  // namespace

absl::StatusOr<SliceRule> ParseSlice(absl::string_view text) {
  constexpr absl::string_view kForm = "[PATTERN:]AXIS=START:STOP";
  WDELTA_ASSIGN_OR_RETURN(auto split, Split("slice", text, kForm));
  auto& [rule, part] = split;
  const std::vector<absl::string_view> ends = absl::StrSplit(part, ':');
  AxisRange range;
  if (ends.size() != 2 || (!ends[0].empty() && !absl::SimpleAtoi(ends[0], &range.start)) ||
      (!ends[1].empty() && !absl::SimpleAtoi(ends[1], &range.stop))) {
    return Bad("slice", text, kForm);
  }
  if (!ends[1].empty() && range.start >= range.stop) {
    return Bad("slice", text, "a STOP behind START");
  }
  rule.part = range;
  WDELTA_RETURN_IF_ERROR(ValidateSliceRule(rule));
  return std::move(rule);
}

absl::StatusOr<SliceRule> ParseShard(absl::string_view text) {
  constexpr absl::string_view kForm = "[PATTERN:]AXIS=I/N";
  WDELTA_ASSIGN_OR_RETURN(auto split, Split("shard", text, kForm));
  auto& [rule, part] = split;
  const std::vector<absl::string_view> numbers = absl::StrSplit(part, '/');
  AxisShard shard;
  if (numbers.size() != 2 || !absl::SimpleAtoi(numbers[0], &shard.index) ||
      !absl::SimpleAtoi(numbers[1], &shard.count)) {
    return Bad("shard", text, kForm);
  }
  if (shard.index >= shard.count) return Bad("shard", text, "an I below N");
  rule.part = shard;
  WDELTA_RETURN_IF_ERROR(ValidateSliceRule(rule));
  return std::move(rule);
}

}  // namespace wdelta
