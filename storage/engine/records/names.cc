#include "storage/engine/records/names.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "storage/base/error.h"
#include "storage/base/id.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/base/utf8.h"
#include "storage/engine/records/merge_recipe.h"

namespace wdelta {
namespace {

absl::Status Invalid(absl::string_view reason, absl::string_view what, absl::string_view value,
                     absl::string_view rule) {
  constexpr size_t kShownBytes = 120;
  return MakeError(
      absl::StatusCode::kInvalidArgument, reason,
      absl::StrCat(what, " '", absl::CHexEscape(value.substr(0, kShownBytes)), "': ", rule));
}

bool IsNameChar(char c) { return absl::ascii_isalnum(c) || c == '_' || c == '.' || c == '-'; }

// The rule that a name part or tag breaks, or empty.
std::string BrokenRule(absl::string_view part, uint64_t max_bytes) {
  if (part.empty()) return "expected at least one character, found none";
  if (part.size() > max_bytes) {
    return absl::StrCat("expected at most ", max_bytes, " characters, found ", part.size());
  }
  for (const char c : part) {
    if (!IsNameChar(c)) return "expected only letters, digits, '_', '.' and '-'";
  }
  if (part[0] == '.' || part[0] == '-') return "must not start with '.' or '-'";
  return "";
}

bool IsHexPrefix(absl::string_view text) {
  for (const char c : text) {
    if (!absl::ascii_isdigit(c) && !(c >= 'a' && c <= 'f')) return false;
  }
  return true;
}

absl::Status ValidateMap(const StringMap& map, absl::string_view reason, absl::string_view what,
                         uint64_t max_item_bytes, uint64_t max_total_bytes) {
  uint64_t total_bytes = 0;
  for (const auto& [key, value] : map) {
    if (key.empty()) return Invalid(reason, what, value, "a key must not be empty");
    if (!IsValidUtf8(key) || !IsValidUtf8(value)) {
      return Invalid(reason, what, key, "key and value must be UTF-8");
    }
    if (key.size() > max_item_bytes || value.size() > max_item_bytes) {
      return Invalid(reason, what, key,
                     absl::StrCat("expected key and value of at most ", max_item_bytes, " bytes"));
    }
    total_bytes += key.size() + value.size();
  }
  if (total_bytes > max_total_bytes) {
    return Invalid(
        reason, what, "",
        absl::StrCat("expected at most ", max_total_bytes, " bytes in all, found ", total_bytes));
  }
  return absl::OkStatus();
}

absl::StatusOr<ModelReference> ParseDigestReference(absl::string_view text, absl::string_view hex) {
  if (hex.size() < limits::kMinDigestPrefixDigits || hex.size() > 64 || !IsHexPrefix(hex)) {
    return Invalid("BAD_REFERENCE", "model reference", text,
                   absl::StrCat("expected ", limits::kMinDigestPrefixDigits,
                                " to 64 lower-case hex digits after sha256:"));
  }
  ModelReference reference;
  reference.kind = ModelReference::Kind::kDigest;
  reference.digest = std::string(hex);
  return reference;
}

}  // namespace

absl::StatusOr<ModelReference> ParseModelReference(absl::string_view text) {
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, "sha256:")) return ParseDigestReference(text, rest);
  ModelReference reference;
  if (absl::ConsumePrefix(&rest, "id:")) {
    if (!IsWellFormedId(rest)) {
      return Invalid("BAD_REFERENCE", "model reference", text,
                     "expected 26 characters of an id after id:");
    }
    reference.kind = ModelReference::Kind::kId;
    reference.id = std::string(rest);
    return reference;
  }
  const std::vector<std::string> parts = absl::StrSplit(text, absl::MaxSplits('@', 1));
  WDELTA_RETURN_IF_ERROR(ValidateName(parts[0]));
  reference.name = parts[0];
  if (parts.size() == 2) {
    WDELTA_RETURN_IF_ERROR(ValidateTag(parts[1]));
    reference.kind = ModelReference::Kind::kTag;
    reference.tag = parts[1];
  }
  return reference;
}

absl::Status ValidateName(absl::string_view name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '/');
  if (parts.size() > 2) {
    return Invalid("BAD_NAME", "model name", name, "expected at most one '/'");
  }
  for (const absl::string_view part : parts) {
    std::string rule = BrokenRule(part, limits::kMaxNamePartBytes);
    if (rule.empty() && (absl::StrContains(part, "..") || absl::StrContains(part, "--"))) {
      rule = "must not contain '..' or '--'";
    }
    if (rule.empty() && absl::EndsWith(part, ".git")) rule = "must not end with '.git'";
    if (!rule.empty()) return Invalid("BAD_NAME", "model name", name, rule);
  }
  return absl::OkStatus();
}

absl::Status ValidateTag(absl::string_view tag) {
  const std::string rule = BrokenRule(tag, limits::kMaxTagBytes);
  if (!rule.empty()) return Invalid("BAD_TAG", "tag", tag, rule);
  return absl::OkStatus();
}

absl::Status ValidateAuthor(absl::string_view author) {
  const auto invalid = [&](absl::string_view rule) {
    return Invalid("BAD_AUTHOR", "author", author, rule);
  };
  if (author.size() > limits::kMaxAuthorBytes) {
    return invalid(absl::StrCat("expected at most ", limits::kMaxAuthorBytes, " bytes, found ",
                                author.size()));
  }
  if (!IsValidUtf8(author)) return invalid("must be UTF-8");
  if (std::any_of(author.begin(), author.end(), [](char c) { return absl::ascii_iscntrl(c); })) {
    return invalid("must not contain control characters");
  }
  if (author != absl::StripAsciiWhitespace(author)) {
    return invalid("must not begin or end with a space");
  }
  return absl::OkStatus();
}

absl::Status ValidateLabels(const StringMap& labels) {
  if (labels.size() > limits::kMaxLabels) {
    return Invalid(
        "BAD_LABELS", "labels", "",
        absl::StrCat("expected at most ", limits::kMaxLabels, " labels, found ", labels.size()));
  }
  return ValidateMap(labels, "BAD_LABELS", "label", limits::kMaxLabelBytes,
                     2 * limits::kMaxLabels * limits::kMaxLabelBytes);
}

absl::Status ValidateMetadata(const StringMap& metadata) {
  return ValidateMap(metadata, "BAD_METADATA", "metadata", limits::kMaxMetadataBytes,
                     limits::kMaxMetadataBytes);
}

absl::Status ValidateClientMetadata(const StringMap& metadata, const StringMap& kept) {
  WDELTA_RETURN_IF_ERROR(ValidateMetadata(metadata));
  for (const auto& [key, value] : metadata) {
    if (!absl::StartsWith(key, kMergeMetadataPrefix)) continue;
    const auto found = kept.find(key);
    if (found != kept.end() && found->second == value) continue;
    return Invalid("BAD_METADATA", "metadata", key,
                   absl::StrCat("keys that start with `", kMergeMetadataPrefix,
                                "` are written by the store alone"));
  }
  return absl::OkStatus();
}

}  // namespace wdelta
