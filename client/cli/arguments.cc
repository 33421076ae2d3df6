#include "client/cli/arguments.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

// At commas; `\,` is a comma and `\\` a backslash within a piece.
std::vector<std::string> SplitAtCommas(absl::string_view text) {
  std::vector<std::string> pieces(1);
  for (size_t i = 0; i < text.size(); ++i) {
    const bool is_escape =
        text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == ',' || text[i + 1] == '\\');
    if (is_escape) {
      pieces.back() += text[++i];
    } else if (text[i] == ',') {
      pieces.emplace_back();
    } else {
      pieces.back() += text[i];
    }
  }
  return pieces;
}

}  // namespace

absl::StatusOr<std::map<std::string, std::string>> ParseKeyValues(
    const std::vector<std::string>& arguments) {
  std::map<std::string, std::string> map;
  for (const std::string& argument : arguments) {
    const size_t equals = argument.find('=');
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError(absl::StrCat("`", argument, "`: expected key=value"));
    }
    if (!map.emplace(argument.substr(0, equals), argument.substr(equals + 1)).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("key `", argument.substr(0, equals), "` is given twice"));
    }
  }
  return map;
}

absl::StatusOr<v1::Parent> ParseParent(absl::string_view text,
                                       v1::Parent::Relation default_relation) {
  std::vector<std::string> pieces = SplitAtCommas(text);
  std::string reference = pieces[0];
  pieces.erase(pieces.begin());
  v1::Parent parent;
  parent.set_relation(default_relation);
  // `sha256:HEX` and `id:ID` have a colon of their own.
  const size_t begin = absl::StartsWith(reference, "sha256:") || absl::StartsWith(reference, "id:")
                           ? reference.find(':') + 1
                           : 0;
  const size_t colon = reference.find(':', begin);
  if (colon != std::string::npos) {
    const std::string word = reference.substr(colon + 1);
    WDELTA_ASSIGN_OR_RETURN(const v1::Parent::Relation relation, ParseRelation(word));
    if (relation == v1::Parent::RELATION_UNSPECIFIED) {
      return absl::InvalidArgumentError(
          absl::StrCat("parent `", text, "`: expected a relation behind the colon"));
    }
    parent.set_relation(relation);
    reference.resize(colon);
  }
  parent.set_model(reference);
  for (const std::string& piece : pieces) {
    if (absl::StrContains(piece, '=')) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("parent `", text, "`: expected KEY=VALUE behind each comma, found `", piece,
                     "`; a comma within a value is written `\\,`"));
  }
  const absl::StatusOr<std::map<std::string, std::string>> metadata = ParseKeyValues(pieces);
  if (!metadata.ok()) return Annotate(metadata.status(), absl::StrCat("parent `", text, "`"));
  parent.mutable_metadata()->insert(metadata->begin(), metadata->end());
  return parent;
}

absl::StatusOr<std::pair<std::string, std::string>> ParseTagReference(absl::string_view text) {
  const size_t at = text.rfind('@');
  if (at == absl::string_view::npos || at == 0 || at + 1 == text.size()) {
    return absl::InvalidArgumentError(absl::StrCat("`", text, "`: expected NAME@TAG"));
  }
  return std::pair(std::string(text.substr(0, at)), std::string(text.substr(at + 1)));
}

void UploadArguments::AddTo(CLI::App& command) {
  command.add_option("--name", name, "Name of the model, `name` or `namespace/name`")->required();
  command
      .add_option(
          "--parent", parents,
          "What it was made from, MODEL[:RELATION][,KEY=VALUE...]; may be repeated; a comma "
          "within a value is written \\,")
      ->allow_extra_args(false);
  command.add_option("--relation", relation,
                     absl::StrCat("To parents given without one: ", kRelationWords));
  command.add_option("--label", labels, "key=value to filter by; may be repeated")
      ->allow_extra_args(false);
  command.add_option("--metadata", metadata, "key=value to keep; may be repeated")
      ->allow_extra_args(false);
  command.add_flag("--new-version", new_version, "Add a version when the name exists");
  command.add_option("--request-id", request_id,
                     "Any text of your own; the same again goes on with an upload that broke off");
  command.add_flag("--wait", wait, "Wait until the model is stored for good");
}

absl::StatusOr<PushOptions> UploadArguments::ToOptions() const {
  PushOptions options;
  options.name = name;
  WDELTA_ASSIGN_OR_RETURN(const v1::Parent::Relation parsed, ParseRelation(relation));
  for (const std::string& reference : parents) {
    WDELTA_ASSIGN_OR_RETURN(options.parents.emplace_back(), ParseParent(reference, parsed));
  }
  WDELTA_ASSIGN_OR_RETURN(options.labels, ParseKeyValues(labels));
  WDELTA_ASSIGN_OR_RETURN(options.metadata, ParseKeyValues(metadata));
  options.new_version = new_version;
  options.wait = wait;
  options.request_id = request_id;
  return options;
}

}  // namespace wdelta
