#include "client/cli/relation_words.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace wdelta {
namespace {

constexpr std::pair<v1::Parent::Relation, absl::string_view> kWords[] = {
    {v1::Parent::FINE_TUNE, "fine-tune"},          {v1::Parent::MERGE, "merge"},
    {v1::Parent::QUANTIZATION, "quantisation"},    {v1::Parent::DISTILLATION, "distillation"},
    {v1::Parent::CONTINUED_TRAINING, "continued"}, {v1::Parent::OTHER, "other"}};

}  // namespace

std::string RelationWord(v1::Parent::Relation relation) {
  for (const auto& [known, word] : kWords) {
    if (known == relation) return std::string(word);
  }
  return "unknown";
}

absl::StatusOr<v1::Parent::Relation> ParseRelation(absl::string_view text) {
  if (text.empty()) return v1::Parent::RELATION_UNSPECIFIED;
  const std::string lower = absl::AsciiStrToLower(absl::StrReplaceAll(text, {{"_", "-"}}));
  for (const auto& [relation, word] : kWords) {
    if (lower == word) return relation;
  }
  v1::Parent::Relation relation = v1::Parent::RELATION_UNSPECIFIED;
  const std::string name = absl::AsciiStrToUpper(absl::StrReplaceAll(lower, {{"-", "_"}}));
  if (v1::Parent::Relation_Parse(name, &relation) && relation != v1::Parent::RELATION_UNSPECIFIED) {
    return relation;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("relation `", text, "`: expected one of ", kRelationWords));
}

}  // namespace wdelta
