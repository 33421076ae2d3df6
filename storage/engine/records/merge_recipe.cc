#include "storage/engine/records/merge_recipe.h"

#include <array>
#include <charconv>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"

namespace wdelta {
namespace {

using store::v1::MergeRecipe;

absl::Status Invalid(absl::string_view reason, absl::string_view message) {
  return MakeError(absl::StatusCode::kInvalidArgument, reason, message);
}

absl::Status ValidateWeights(const MergeRecipe& recipe) {
  double sum = 0;
  for (const MergeRecipe::Source& source : recipe.sources()) {
    const bool is_valid = std::isfinite(source.weight()) &&
                          (recipe.method() != MergeRecipe::TIES || source.weight() > 0);
    if (!is_valid) {
      return Invalid("BAD_WEIGHT",
                     absl::StrCat("weight of '", source.name(), "': expected a finite number",
                                  recipe.method() == MergeRecipe::TIES ? " greater than 0" : "",
                                  ", found ", NumberText(source.weight())));
    }
    sum += source.weight();
  }
  if (recipe.method() != MergeRecipe::LINEAR) {
    if (std::isfinite(sum)) return absl::OkStatus();
    return Invalid(
        "BAD_WEIGHT",
        absl::StrCat("sum of the weights: expected a finite number, found ", NumberText(sum)));
  }
  // Subnormal ones have lost digits of the weights.
  if (!std::isnormal(sum) || sum < 0) {
    return Invalid("BAD_WEIGHT",
                   absl::StrCat("sum of the weights: expected a normal number greater than 0, "
                                "found ",
                                NumberText(sum)));
  }
  for (const MergeRecipe::Source& source : recipe.sources()) {
    if (std::isfinite(source.weight() / sum)) continue;
    return Invalid("BAD_WEIGHT",
                   absl::StrCat("weight of '", source.name(), "': ", NumberText(source.weight()),
                                " is too large beside the sum of the weights, ", NumberText(sum)));
  }
  return absl::OkStatus();
}

}  // namespace

bool HasBase(MergeRecipe::Method method) { return method != MergeRecipe::LINEAR; }

absl::string_view MethodName(MergeRecipe::Method method) {
  switch (method) {
    case MergeRecipe::LINEAR:
      return "linear";
    case MergeRecipe::TASK_ARITHMETIC:
      return "task-arithmetic";
    case MergeRecipe::TIES:
      return "ties";
    default:
      return "unknown";
  }
}

absl::Status ValidateRecipe(const MergeRecipe& recipe) {
  const MergeRecipe::Method method = recipe.method();
  if (method == MergeRecipe::METHOD_UNSPECIFIED || !MergeRecipe::Method_IsValid(method)) {
    return Invalid("BAD_METHOD", "method: expected linear, task_arithmetic or ties, found none");
  }
  const int least = HasBase(method) ? 1 : 2;
  const auto most = static_cast<int>(limits::kMaxMergeSources);
  if (recipe.sources_size() < least || recipe.sources_size() > most) {
    return Invalid("BAD_SOURCES",
                   absl::StrCat("sources of a ", MethodName(method), " merge: expected ", least,
                                " to ", most, ", found ", recipe.sources_size()));
  }
  if (HasBase(method) && !std::isfinite(recipe.scale())) {
    return Invalid("BAD_LAMBDA", absl::StrCat("lambda: expected a finite number, found ",
                                              NumberText(recipe.scale())));
  }
  const bool has_density = recipe.density() > 0 && recipe.density() <= 1;
  if (method == MergeRecipe::TIES && !has_density) {
    return Invalid("BAD_DENSITY",
                   absl::StrCat("density: expected more than 0 and at most 1, found ",
                                NumberText(recipe.density())));
  }
  return ValidateWeights(recipe);
}

std::string NumberText(double number) {
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number);
  return std::string(text.data(), end.ptr);
}

StringMap RecipeMetadata(const MergeRecipe& recipe, const std::vector<std::string>& digests) {
  StringMap metadata;
  metadata["merge.method"] = std::string(MethodName(recipe.method()));
  std::vector<std::string> references;
  for (const std::string& digest : digests) references.push_back("sha256:" + digest);
  if (HasBase(recipe.method())) {
    metadata["merge.base"] = references.front();
    references.erase(references.begin());
    metadata["merge.lambda"] = NumberText(recipe.scale());
  }
  if (recipe.method() == MergeRecipe::TIES) {
    metadata["merge.density"] = NumberText(recipe.density());
  }
  metadata["merge.sources"] = absl::StrJoin(references, " ");
  metadata["merge.weights"] =
      absl::StrJoin(recipe.sources(), ",", [](std::string* out, const auto& source) {
        absl::StrAppend(out, NumberText(source.weight()));
      });
  return metadata;
}

}  // namespace wdelta
