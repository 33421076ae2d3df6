#include "server/http/hub_access.h"

#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/auth/audit_log.h"
#include "server/auth/auth_limits.h"
#include "server/http/socket_server.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

using Kind = HubRoute::Kind;

struct RouteRule {
  bool is_open = false;  // to anybody
  Scope scope = Scope::kAny;
  const char* audited = nullptr;  // as the audit log calls it
};

RouteRule RuleOf(Kind kind) {
  switch (kind) {
    case Kind::kUnknown:
    case Kind::kHealth:
    case Kind::kTelemetry:
      return {.is_open = true};
    case Kind::kWhoAmI:
    case Kind::kValidateYaml:
      return {};
    case Kind::kResolve:
    case Kind::kInfo:
    case Kind::kTree:
    case Kind::kPathsInfo:
    case Kind::kRefs:
    case Kind::kCommits:
      return {.scope = Scope::kRead};
    case Kind::kPreupload:
    case Kind::kLfsBatch:
    case Kind::kLfsVerify:
      return {.scope = Scope::kWrite};
    case Kind::kCreateRepo:
      return {.scope = Scope::kWrite, .audited = "Hub.CreateRepo"};
    case Kind::kCommit:
      return {.scope = Scope::kWrite, .audited = "Hub.Commit"};
    case Kind::kLfsObject:
      return {.scope = Scope::kWrite, .audited = "Hub.PutObject"};
    case Kind::kTag:
      return {.scope = Scope::kWrite, .audited = "Hub.Tag"};
    case Kind::kBranch:
      return {.scope = Scope::kWrite, .audited = "Hub.Branch"};
  }
  return {.scope = Scope::kAdmin};
}

// What a signature is of. No part holds a line end. By the hash of the token it ends with it.
std::string SignedText(absl::string_view repo, absl::string_view oid, absl::string_view size_bytes,
                       absl::string_view expires, const TokenEntry& token) {
  return absl::StrCat(repo, "\n", oid, "\n", size_bytes, "\n", expires, "\n", token.identity->name,
                      "\n", absl::BytesToHexString(token.sha256));
}

absl::Status Denied(absl::string_view reason, absl::string_view message) {
  return MakeError(absl::StatusCode::kPermissionDenied, reason, message);
}

}  // namespace

absl::Status HubCaller::MayName(absl::string_view repo) const {
  return identity == nullptr ? absl::OkStatus() : CheckName(*identity, repo);
}

NameCheck HubCaller::name_check() const {
  if (identity == nullptr || !identity->IsLimited()) return nullptr;
  return [identity = identity](absl::string_view name) { return CheckName(*identity, name); };
}

absl::StatusOr<HubCaller> HubAccess::Check(const HubRoute& route,
                                           const httplib::Request& request) const {
  const RouteRule rule = RuleOf(route.kind);
  HubCaller caller;
  if (authenticator_ == nullptr || rule.is_open) return caller;
  if (route.kind == Kind::kLfsObject) {
    WDELTA_ASSIGN_OR_RETURN(caller.identity, CheckLink(route));
    WDELTA_RETURN_IF_ERROR(CheckScope(*caller.identity, rule.scope, request.method));
    WDELTA_RETURN_IF_ERROR(caller.MayName(route.repo));
    return caller;
  }
  absl::StatusOr<IdentityPtr> identity =
      authenticator_->Authenticate(request.get_header_value_count("Authorization") > 1
                                       ? "several"
                                       : request.get_header_value("Authorization"));
  if (ErrorReason(identity.status()) == "TOKEN_UNKNOWN") {
    // By these words clients tell a bad token from a repository that is hidden from them.
    return MakeError(absl::StatusCode::kUnauthenticated, "TOKEN_UNKNOWN",
                     "Invalid credentials in Authorization header");
  }
  WDELTA_RETURN_IF_ERROR(identity.status());
  caller.identity = *std::move(identity);
  WDELTA_RETURN_IF_ERROR(CheckScope(*caller.identity, rule.scope, request.method));
  if (!route.repo.empty()) WDELTA_RETURN_IF_ERROR(caller.MayName(route.repo));
  return caller;
}

absl::StatusOr<IdentityPtr> HubAccess::CheckLink(const HubRoute& route) const {
  const std::string signature = route.Query("signature");
  if (signature.empty()) {
    return MakeError(absl::StatusCode::kUnauthenticated, "TOKEN_MISSING",
                     "expected a signed link, as objects/batch gives it");
  }
  const std::string expires = route.Query("expires");
  const std::optional<TokenEntry> token = authenticator_->Find(route.Query("token"));
  const bool is_signed =
      token.has_value() &&
      signer_.Verify(SignedText(route.repo, route.path, route.Query("size"), expires, *token),
                     signature);
  if (!is_signed) {
    return Denied("BAD_SIGNATURE",
                  "the link was not signed by this server since it started, or the token that it "
                  "was given to is not known any more");
  }
  int64_t expire_seconds = 0;
  if (!absl::SimpleAtoi(expires, &expire_seconds) ||
      clock_.Now() >= absl::FromUnixSeconds(expire_seconds)) {
    return Denied("LINK_EXPIRED", "the link has expired");
  }
  return token->identity;
}

std::string HubAccess::ObjectQuery(const HubCaller& caller, const std::string& repo,
                                   const ContentName& content) const {
  const std::string size_bytes = absl::StrCat(content.size_bytes);
  if (authenticator_ == nullptr || caller.identity == nullptr) {
    return absl::StrCat("size=", size_bytes);
  }
  const std::string& name = caller.identity->name;
  // One that was taken away meanwhile gets a link that leads nowhere.
  const TokenEntry token =
      authenticator_->Find(name).value_or(TokenEntry{.identity = caller.identity});
  const std::string expires = absl::StrCat(
      absl::ToUnixSeconds(clock_.Now() + absl::Seconds(auth_limits::kSignedLinkSeconds)));
  const std::string signature =
      signer_.Sign(SignedText(repo, content.digest.ToHex(), size_bytes, expires, token));
  return absl::StrCat("size=", size_bytes, "&token=", name, "&expires=", expires,
                      "&signature=", signature);
}

void HubAccess::Audit(spdlog::logger& log, const HubRoute& route, const HubCaller& caller,
                      const httplib::Request& request, const httplib::Response& response) {
  const RouteRule rule = RuleOf(route.kind);
  if (rule.audited == nullptr) return;
  std::vector<std::string> subjects = {caller.subject.empty() ? route.repo : caller.subject};
  if (subjects[0].empty()) subjects.clear();
  if (route.kind == Kind::kLfsObject) subjects.push_back(route.path);
  // Of a new one, what it is made of; its name comes in the body.
  if (route.kind == Kind::kTag) subjects.push_back(route.revision);
  const std::string peer = absl::StrCat(request.remote_addr, ":", request.remote_port);
  const std::string action = absl::StrCat(rule.audited, " ", request.method);
  const std::string code = response.get_header_value("X-Error-Code");
  const std::string result = code.empty() ? absl::StrCat(response.status) : code;
  const std::string request_id = request.get_header_value(kRequestIdHeader);
  LogAudit(log, {caller.identity.get(), peer, action, std::move(subjects), result, request_id});
}

}  // namespace wdelta
