#include "client/cli/new_token.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "storage/base/digest.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr size_t kRandomBytes = 32;
// As the daemon has it.
constexpr size_t kMaxNameBytes = 64;
constexpr size_t kMaxPrefixes = 64;
constexpr size_t kMaxPrefixBytes = 2 * limits::kMaxNamePartBytes + 1;

bool ConsistsOf(const std::string& text, absl::string_view more) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains(more, c);
  });
}

std::string Quoted(const std::string& text) { return absl::StrCat("\"", text, "\""); }

}  // namespace

absl::StatusOr<std::string> NewToken() {
  std::string random(kRandomBytes, '\0');
  size_t filled = 0;
  while (filled < random.size()) {
    const ssize_t count = getrandom(random.data() + filled, random.size() - filled, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return absl::InternalError("the system gives no random numbers");
    filled += static_cast<size_t>(count);
  }
  return absl::StrCat(kTokenPrefix, absl::WebSafeBase64Escape(random));
}

absl::StatusOr<std::string> TokenEntryYaml(const TokenEntryArguments& arguments,
                                           const std::string& token) {
  if (!ConsistsOf(arguments.name, "_.-") || arguments.name.size() > kMaxNameBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "NAME: expected 1 to ", kMaxNameBytes, " of [A-Za-z0-9_.-], found `", arguments.name, "`"));
  }
  if (arguments.scopes.empty()) {
    return absl::InvalidArgumentError("--scope: expected read, write or admin, found none");
  }
  if (arguments.names.size() > kMaxPrefixes) {
    return absl::InvalidArgumentError(absl::StrCat("--names: expected at most ", kMaxPrefixes,
                                                   ", found ", arguments.names.size()));
  }
  std::vector<std::string> prefixes;
  for (const std::string& prefix : arguments.names) {
    if (!ConsistsOf(prefix, "_.-/") || prefix.size() > kMaxPrefixBytes) {
      return absl::InvalidArgumentError(absl::StrCat("--names: expected a prefix of 1 to ",
                                                     kMaxPrefixBytes,
                                                     " of [A-Za-z0-9_.-/], found `", prefix, "`"));
    }
    prefixes.push_back(Quoted(prefix));
  }
  std::string yaml = absl::StrCat("- name: ", Quoted(arguments.name),
                                  "\n  sha256: ", Quoted(Digest::Of(token).ToHex()),
                                  "\n  scopes: [", absl::StrJoin(arguments.scopes, ", "), "]\n");
  if (!prefixes.empty()) {
    absl::StrAppend(&yaml, "  names: [", absl::StrJoin(prefixes, ", "), "]\n");
  }
  return yaml;
}

}  // namespace wdelta
