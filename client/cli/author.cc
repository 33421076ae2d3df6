#include "client/cli/author.h"

#include <pwd.h>
#include <unistd.h>

#include <array>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/cli/text.h"
#include "storage/base/limits.h"
#include "storage/base/utf8.h"

namespace wdelta {
namespace {

constexpr size_t kMaxHostBytes = 256;
constexpr size_t kMaxAccountBytes = 4096;

std::string UserName() {
  std::array<char, kMaxAccountBytes> buffer;
  struct passwd account = {};
  struct passwd* found = nullptr;
  const uid_t user = geteuid();
  if (getpwuid_r(user, &account, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) {
    return found->pw_name;
  }
  return absl::StrCat("uid", user);
}

std::string HostName() {
  std::array<char, kMaxHostBytes> buffer = {};
  if (gethostname(buffer.data(), buffer.size() - 1) != 0) return "unknown-host";
  return buffer.data();
}

}  // namespace

std::string LocalAuthor() {
  const std::string author = Printable(absl::StrCat(UserName(), "@", HostName()));
  return author.size() <= limits::kMaxAuthorBytes && IsValidUtf8(author) ? author : UserName();
}

void AddAuthorOption(CLI::App& command, std::string& author) {
  author = LocalAuthor();
  command
      .add_option("--author", author,
                  "Who asks, for the tag's history; empty: the address that the daemon sees")
      ->capture_default_str();
}

}  // namespace wdelta
