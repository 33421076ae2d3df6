#include "server/rpc/tensor_selection.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/rpc/convert.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/shell_pattern.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

using NamePatterns = google::protobuf::RepeatedPtrField<std::string>;
using Slices = google::protobuf::RepeatedPtrField<v1::TensorSlice>;

// Each may take some ten milliseconds, with all the patterns that there may be.
constexpr size_t kTensorsPerCheck = 4;

// The fields that the request itself and each further selection have.
struct Asked {
  std::string field;  // of the request, with a dot; empty for the request itself
  const std::string& model;
  const NamePatterns& name_patterns;
  const Slices& slices;
};

std::vector<Asked> AllAsked(const v1::FetchTensorsRequest& request) {
  std::vector<Asked> all = {{"", request.model(), request.name_patterns(), request.slices()}};
  for (int i = 0; i < request.further_selections_size(); ++i) {
    const v1::TensorSelection& selection = request.further_selections(i);
    all.push_back({absl::StrCat("further_selections[", i, "]."), selection.model(),
                   selection.name_patterns(), selection.slices()});
  }
  return all;
}

absl::Status Bad(absl::string_view reason, absl::string_view what) {
  return MakeError(absl::StatusCode::kInvalidArgument, reason, what);
}

// Each tensor is looked up among all of them: of the whole request there are not many.
absl::Status CheckCounts(const std::vector<Asked>& all) {
  if (all.size() > static_cast<size_t>(limits::kMaxTensorSelections)) {
    return Bad("TOO_MANY_SELECTIONS",
               absl::StrCat("further_selections: expected at most ",
                            limits::kMaxTensorSelections - 1, ", found ", all.size() - 1));
  }
  uint64_t patterns = 0;
  uint64_t slices = 0;
  uint64_t pattern_bytes = 0;
  for (const Asked& asked : all) {
    patterns += asked.name_patterns.size();
    slices += asked.slices.size();
    for (const std::string& pattern : asked.name_patterns) pattern_bytes += pattern.size();
    for (const v1::TensorSlice& slice : asked.slices) pattern_bytes += slice.name_pattern().size();
  }
  if (patterns > limits::kMaxTensorPatterns) {
    return Bad("BAD_PATTERN", absl::StrCat("name_patterns: expected at most ",
                                           limits::kMaxTensorPatterns, ", found ", patterns));
  }
  if (slices > limits::kMaxTensorSlices) {
    return Bad("BAD_SLICE", absl::StrCat("slices: expected at most ", limits::kMaxTensorSlices,
                                         ", found ", slices));
  }
  if (pattern_bytes > limits::kMaxPatternBytesOfFetch) {
    return Bad("BAD_PATTERN", absl::StrCat("patterns of names and slices: expected at most ",
                                           limits::kMaxPatternBytesOfFetch,
                                           " bytes together, found ", pattern_bytes));
  }
  return absl::OkStatus();
}

absl::Status CheckPatterns(const Asked& asked) {
  const auto bad = [&](absl::string_view why) {
    return Bad("BAD_PATTERN", absl::StrCat(asked.field, "name_patterns: ", why));
  };
  for (const std::string& pattern : asked.name_patterns) {
    if (pattern.empty()) return bad("expected a pattern, found an empty one");
    if (pattern.size() > limits::kMaxTensorPatternBytes) {
      return bad(absl::StrCat("expected at most ", limits::kMaxTensorPatternBytes, " bytes, found ",
                              pattern.size()));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<SliceRule> FromProto(const v1::TensorSlice& slice) {
  SliceRule rule{slice.name_pattern(), slice.axis(), {}};
  if (slice.has_range()) {
    rule.part = AxisRange{slice.range().start(), slice.range().stop()};
  } else if (slice.has_shard()) {
    rule.part = AxisShard{slice.shard().index(), slice.shard().count()};
  } else {
    return Bad("BAD_SLICE", "expected a range or a shard, found neither");
  }
  WDELTA_RETURN_IF_ERROR(ValidateSliceRule(rule));
  return rule;
}

absl::StatusOr<std::vector<SliceRule>> RulesOf(const Asked& asked) {
  std::vector<SliceRule> rules;
  for (int i = 0; i < asked.slices.size(); ++i) {
    absl::StatusOr<SliceRule> rule = FromProto(asked.slices[i]);
    if (!rule.ok()) {
      return Annotate(rule.status(), absl::StrCat(asked.field, "slices[", i, "]"));
    }
    rules.push_back(*std::move(rule));
  }
  return rules;
}

// For a message: the first of them, and how many more there are.
std::string PatternsText(const NamePatterns& patterns) {
  if (patterns.empty()) return "";
  std::string text = absl::StrCat(" `", patterns[0], "`");
  if (patterns.size() > 1) absl::StrAppend(&text, " or ", patterns.size() - 1, " other patterns");
  return text;
}

absl::StatusOr<OpenSelection> Open(ModelStore& store, const Asked& asked,
                                   std::vector<SliceRule> rules, const CheckAlive& check_alive) {
  WDELTA_ASSIGN_OR_RETURN(const Model model, store.models().ResolveToFetch(asked.model));
  OpenSelection selection{IdReference(model.record.id()), {}, {}, std::move(rules)};
  WDELTA_ASSIGN_OR_RETURN(selection.source, store.reader().OpenToServe(model.record));
  const std::vector<StreamInfo>& all = selection.source->checkpoint().streams;
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].kind != StreamKind::kTensor) continue;
    if (i % kTensorsPerCheck == 0) WDELTA_RETURN_IF_ERROR(check_alive());
    if (!MatchesAny(asked.name_patterns, all[i].tensor.name)) continue;
    OpenSelection::Tensor tensor{static_cast<uint32_t>(i)};
    if (const SliceRule* const rule = FirstRuleFor(selection.rules, all[i].tensor)) {
      WDELTA_ASSIGN_OR_RETURN(const std::optional<TensorSlice> slice,
                              SliceBy(*rule, all[i].tensor));
      if (slice.has_value()) tensor.rule = static_cast<uint32_t>(rule - selection.rules.data());
    }
    selection.tensors.push_back(tensor);
  }
  if (selection.tensors.empty()) {
    return MakeError(absl::StatusCode::kNotFound, "NO_TENSOR_MATCHES",
                     absl::StrCat("model '", model.record.name(), "' has no tensor that matches",
                                  PatternsText(asked.name_patterns)));
  }
  return selection;
}

}  // namespace

std::optional<TensorSlice> OpenSelection::SliceAt(size_t index) const {
  const uint32_t rule = tensors[index].rule;
  if (rule == kWhole) return std::nullopt;
  absl::StatusOr<std::optional<TensorSlice>> slice = SliceBy(rules[rule], TensorAt(index));
  return slice.ok() ? *std::move(slice) : std::nullopt;
}

uint64_t OpenSelection::SentBytesAt(size_t index) const {
  const std::optional<TensorSlice> slice = SliceAt(index);
  return slice.has_value() ? slice->size_bytes() : TensorAt(index).size_bytes;
}

absl::StatusOr<std::vector<OpenSelection>> OpenSelections(ModelStore& store,
                                                          const v1::FetchTensorsRequest& request,
                                                          const CheckAlive& check_alive) {
  const std::vector<Asked> all = AllAsked(request);
  WDELTA_RETURN_IF_ERROR(CheckCounts(all));
  std::vector<std::vector<SliceRule>> rules;
  for (const Asked& asked : all) {
    WDELTA_RETURN_IF_ERROR(CheckPatterns(asked));
    WDELTA_ASSIGN_OR_RETURN(rules.emplace_back(), RulesOf(asked));
  }
  std::vector<OpenSelection> selections;
  for (size_t i = 0; i < all.size(); ++i) {
    WDELTA_ASSIGN_OR_RETURN(selections.emplace_back(),
                            Open(store, all[i], std::move(rules[i]), check_alive));
  }
  return selections;
}

}  // namespace wdelta
