#include "server/auth/authenticator.h"

#include <openssl/crypto.h>
#include <sys/stat.h>

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "storage/base/digest.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr absl::string_view kScheme = "bearer ";

absl::Status TokenUnknown() {
  return MakeError(absl::StatusCode::kUnauthenticated, "TOKEN_UNKNOWN",
                   "authorization: expected a token that this server knows");
}

}  // namespace

Authenticator::Authenticator(std::string path, FileState state, std::vector<IdentityPtr> entries)
    : path_(std::move(path)),
      seen_(state),
      entries_(std::make_shared<const std::vector<IdentityPtr>>(std::move(entries))) {}

absl::StatusOr<std::unique_ptr<Authenticator>> Authenticator::Open(const std::string& path) {
  // Looked at before it is read: a change in between is seen later.
  const FileState state = StateOf(path);
  WDELTA_ASSIGN_OR_RETURN(std::vector<IdentityPtr> entries, ReadTokenFile(path));
  return std::unique_ptr<Authenticator>(new Authenticator(path, state, std::move(entries)));
}

Authenticator::FileState Authenticator::StateOf(const std::string& path) {
  struct stat found {};
  if (stat(path.c_str(), &found) != 0) return FileState();
  constexpr int64_t kNsPerSecond = 1'000'000'000;
  return {found.st_dev, found.st_ino, found.st_size,
          int64_t{found.st_mtim.tv_sec} * kNsPerSecond + found.st_mtim.tv_nsec,
          int64_t{found.st_ctim.tv_sec} * kNsPerSecond + found.st_ctim.tv_nsec};
}

Authenticator::Entries Authenticator::entries() const {
  absl::MutexLock lock(&mutex_);
  return entries_;
}

IdentityPtr Authenticator::Find(absl::string_view name) const {
  const Entries known = entries();
  for (const IdentityPtr& entry : *known) {
    if (entry->name == name) return entry;
  }
  return nullptr;
}

size_t Authenticator::token_count() const { return entries()->size(); }

absl::StatusOr<IdentityPtr> Authenticator::Authenticate(absl::string_view authorization) const {
  if (authorization.empty()) {
    return MakeError(absl::StatusCode::kUnauthenticated, "TOKEN_MISSING",
                     "authorization: expected `Bearer TOKEN`, found none; wdelta takes the token "
                     "from WDELTA_TOKEN or --token-file");
  }
  if (!absl::StartsWithIgnoreCase(authorization, kScheme)) return TokenUnknown();
  const absl::string_view token = absl::StripAsciiWhitespace(authorization.substr(kScheme.size()));
  if (token.empty()) return TokenUnknown();
  const std::string hash = Digest::Of(token).ToBytes();
  IdentityPtr found;
  const Entries known = entries();
  for (const IdentityPtr& entry : *known) {
    if (CRYPTO_memcmp(entry->token_sha256.data(), hash.data(), kDigestBytes) == 0) found = entry;
  }
  if (found == nullptr) return TokenUnknown();
  return found;
}

absl::StatusOr<bool> Authenticator::ReloadIfChanged() {
  const FileState state = StateOf(path_);
  const bool is_changed = state != seen_;
  // What kept the file from being read may pass without a change of it.
  if (!is_changed && !absl::IsNotFound(told_)) return false;
  seen_ = state;
  absl::StatusOr<std::vector<IdentityPtr>> read = ReadTokenFile(path_);
  if (!read.ok()) {
    const bool is_told = !is_changed && read.status() == told_;
    told_ = read.status();
    if (is_told) return false;
    return told_;
  }
  told_ = absl::OkStatus();
  auto entries = std::make_shared<const std::vector<IdentityPtr>>(*std::move(read));
  absl::MutexLock lock(&mutex_);
  entries_ = std::move(entries);
  return true;
}

}  // namespace wdelta
