// Tokens and what a daemon is to know of them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace wdelta {

inline constexpr char kTokenPrefix[] = "wd_";

// 256 random bits of the operating system as base64url behind kTokenPrefix. INTERNAL when it
// gives none.
absl::StatusOr<std::string> NewToken();

// An entry of the daemon's --tokens_file.
struct TokenEntryArguments {
  std::string name;
  std::vector<std::string> scopes;  // of read, write, admin
  std::vector<std::string> names;   // prefixes; empty: all names
};

// The entry in YAML, with the token's hash. INVALID_ARGUMENT for what the daemon would not take.
absl::StatusOr<std::string> TokenEntryYaml(const TokenEntryArguments& arguments,
                                           const std::string& token);

}  // namespace wdelta
