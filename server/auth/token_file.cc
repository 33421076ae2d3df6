#include "server/auth/token_file.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/auth/auth_limits.h"
#include "storage/base/digest.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/small_file.h"
#include "storage/base/status_macros.h"
#include "yaml-cpp/yaml.h"

namespace wdelta {
namespace {

constexpr size_t kMaxPrefixBytes = 2 * limits::kMaxNamePartBytes + 1;
constexpr size_t kMaxShownBytes = 64;

absl::Status Bad(absl::string_view field, absl::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": expected ", expected));
}

std::string Shown(absl::string_view text) {
  return absl::CHexEscape(text.substr(0, kMaxShownBytes));
}

bool IsNameText(absl::string_view text, absl::string_view more) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains(more, c);
  });
}

absl::StatusOr<std::string> TextOf(const YAML::Node& node, absl::string_view field) {
  if (!node.IsDefined()) return Bad(field, "a value, found none");
  if (!node.IsScalar()) return Bad(field, "one value");
  return node.Scalar();
}

absl::StatusOr<std::vector<std::string>> ListOf(const YAML::Node& node, absl::string_view field) {
  if (!node.IsSequence() || node.size() == 0) return Bad(field, "a list with at least one item");
  std::vector<std::string> items;
  for (const YAML::Node& item : node) {
    WDELTA_ASSIGN_OR_RETURN(items.emplace_back(), TextOf(item, field));
  }
  return items;
}

absl::Status CheckFields(const YAML::Node& entry) {
  std::set<std::string> seen;
  for (const auto& field : entry) {
    if (!field.first.IsScalar()) return absl::InvalidArgumentError("expected words as fields");
    const std::string& key = field.first.Scalar();
    if (key != "name" && key != "sha256" && key != "scopes" && key != "names") {
      return absl::InvalidArgumentError(absl::StrCat("unknown field '", Shown(key),
                                                     "'; expected name, sha256, scopes and names"));
    }
    if (!seen.insert(key).second) return absl::InvalidArgumentError(key + " is given twice");
  }
  return absl::OkStatus();
}

absl::Status SetScopes(const YAML::Node& node, Identity& identity) {
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> scopes, ListOf(node, "scopes"));
  for (const std::string& scope : scopes) {
    if (scope == ScopeWord(Scope::kRead)) {
      identity.may_read = true;
    } else if (scope == ScopeWord(Scope::kWrite)) {
      identity.may_write = true;
    } else if (scope == ScopeWord(Scope::kAdmin)) {
      identity.may_administer = true;
    } else {
      return Bad("scopes", absl::StrCat("read, write or admin, found '", Shown(scope), "'"));
    }
  }
  return absl::OkStatus();
}

absl::Status SetNames(const YAML::Node& node, Identity& identity) {
  WDELTA_ASSIGN_OR_RETURN(identity.name_prefixes, ListOf(node, "names"));
  if (identity.name_prefixes.size() > auth_limits::kMaxPrefixesOfToken) {
    return Bad("names", absl::StrCat("at most ", auth_limits::kMaxPrefixesOfToken,
                                     " prefixes, found ", identity.name_prefixes.size()));
  }
  for (const std::string& prefix : identity.name_prefixes) {
    if (prefix.empty() || prefix.size() > kMaxPrefixBytes || !IsNameText(prefix, "_.-/")) {
      return Bad("names", absl::StrCat("prefixes of 1 to ", kMaxPrefixBytes,
                                       " of [A-Za-z0-9_.-/], found '", Shown(prefix), "'"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<IdentityPtr> ParseEntry(const YAML::Node& node) {
  if (!node.IsMap()) return absl::InvalidArgumentError("expected fields name, sha256 and scopes");
  WDELTA_RETURN_IF_ERROR(CheckFields(node));
  auto identity = std::make_shared<Identity>();
  WDELTA_ASSIGN_OR_RETURN(identity->name, TextOf(node["name"], "name"));
  const std::string& name = identity->name;
  if (name.empty() || name.size() > auth_limits::kMaxTokenNameBytes || !IsNameText(name, "_.-")) {
    return Bad("name", absl::StrCat("1 to ", auth_limits::kMaxTokenNameBytes,
                                    " of [A-Za-z0-9_.-], found '", Shown(name), "'"));
  }
  WDELTA_ASSIGN_OR_RETURN(const std::string hex, TextOf(node["sha256"], "sha256"));
  const absl::StatusOr<Digest> digest = Digest::FromHex(hex);
  if (!digest.ok()) {
    return Bad("sha256",
               absl::StrCat("the token's hash as 64 lower-case hex digits, found something of ",
                            hex.size(), " characters"));
  }
  if (*digest == Digest::Of("")) return Bad("sha256", "the hash of a token, found that of no text");
  if (!node["scopes"].IsDefined()) return Bad("scopes", "a value, found none");
  WDELTA_RETURN_IF_ERROR(SetScopes(node["scopes"], *identity));
  if (node["names"].IsDefined()) WDELTA_RETURN_IF_ERROR(SetNames(node["names"], *identity));
  identity->token_sha256 = digest->ToBytes();
  return IdentityPtr(std::move(identity));
}

// `entry 3 ('ci')`
std::string EntryLabel(size_t number, const YAML::Node& node) {
  std::string label = absl::StrCat("entry ", number);
  if (!node.IsMap()) return label;
  const YAML::Node name = node["name"];
  if (name.IsDefined() && name.IsScalar()) {
    absl::StrAppend(&label, " ('", Shown(name.Scalar()), "')");
  }
  return label;
}

absl::StatusOr<std::vector<IdentityPtr>> ParseEntries(const YAML::Node& root) {
  if (!root.IsSequence()) {
    return absl::InvalidArgumentError(
        "expected a list of entries with name, sha256 and scopes; [] for none");
  }
  if (root.size() > auth_limits::kMaxTokens) {
    return absl::InvalidArgumentError(absl::StrCat("expected at most ", auth_limits::kMaxTokens,
                                                   " entries, found ", root.size()));
  }
  std::vector<IdentityPtr> entries;
  std::set<std::string> names;
  std::set<std::string> hashes;
  for (const YAML::Node& node : root) {
    const std::string label = EntryLabel(entries.size() + 1, node);
    absl::StatusOr<IdentityPtr> entry = ParseEntry(node);
    if (!entry.ok()) return Annotate(entry.status(), label);
    if (!names.insert((*entry)->name).second) {
      return absl::InvalidArgumentError(label + ": name: an earlier entry has the same");
    }
    if (!hashes.insert((*entry)->token_sha256).second) {
      return absl::InvalidArgumentError(label + ": sha256: an earlier entry has the same");
    }
    entries.push_back(*std::move(entry));
  }
  return entries;
}

}  // namespace

absl::StatusOr<std::vector<IdentityPtr>> ParseTokenFile(const std::string& path,
                                                        const std::string& text) {
  if (text.size() > auth_limits::kMaxTokenFileBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected at most ", auth_limits::kMaxTokenFileBytes, " bytes"));
  }
  try {
    absl::StatusOr<std::vector<IdentityPtr>> entries = ParseEntries(YAML::Load(text));
    if (!entries.ok()) return Annotate(entries.status(), path);
    return entries;
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", absl::StrReplaceAll(error.what(), {{"\n", "; "}})));
  }
}

absl::StatusOr<std::vector<IdentityPtr>> ReadTokenFile(const std::string& path) {
  WDELTA_ASSIGN_OR_RETURN(const std::string text,
                          ReadSmallFile(path, auth_limits::kMaxTokenFileBytes));
  return ParseTokenFile(path, text);
}

}  // namespace wdelta
