#include "server/http/hub_access.h"

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
                       absl::string_view expires, const Identity& token) {
  return absl::StrCat(repo, "\n", oid, "\n", size_bytes, "\n", expires, "\n", token.name, "\n",
                      absl::BytesToHexString(token.token_sha256));
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

absl::Status HubAccess::Check(const HubRoute& route, const httplib::Request& request,
                              HubCaller& caller) const {
  const RouteRule rule = RuleOf(route.kind);
  if (authenticator_ == nullptr || rule.is_open) return absl::OkStatus();
  if (route.kind == Kind::kLfsObject) {
    WDELTA_RETURN_IF_ERROR(CheckLink(route, caller));
    WDELTA_RETURN_IF_ERROR(CheckScope(*caller.identity, rule.scope, request.method));
    return caller.MayName(route.repo);
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
  return route.repo.empty() ? absl::OkStatus() : caller.MayName(route.repo);
}

absl::Status HubAccess::CheckLink(const HubRoute& route, HubCaller& caller) const {
  const std::string signature = route.Query("signature");
  if (signature.empty()) {
    return MakeError(absl::StatusCode::kUnauthenticated, "TOKEN_MISSING",
                     "expected a signed link, as objects/batch gives it");
  }
  const std::string expires = route.Query("expires");
  IdentityPtr token = authenticator_->Find(route.Query("token"));
  const bool is_signed =
      token != nullptr &&
      signer_.Verify(SignedText(route.repo, route.path, route.Query("size"), expires, *token),
                     signature);
  if (!is_signed) {
    return Denied("BAD_SIGNATURE",
                  "the link was not signed by this server since it started, or the token that it "
                  "was given to is not known any more");
  }
  caller.identity = std::move(token);
  int64_t expire_seconds = 0;
  if (!absl::SimpleAtoi(expires, &expire_seconds) ||
      clock_.Now() >= absl::FromUnixSeconds(expire_seconds)) {
    return Denied("LINK_EXPIRED", "the link has expired");
  }
  return absl::OkStatus();
}

std::string HubAccess::ObjectQuery(const HubCaller& caller, const std::string& repo,
                                   const ContentName& content) const {
  const std::string size_bytes = absl::StrCat(content.size_bytes);
  if (authenticator_ == nullptr || caller.identity == nullptr) {
    return absl::StrCat("size=", size_bytes);
  }
  // By what came with the request: a token that was taken away or replaced since then gets a link
  // that leads nowhere.
  const Identity& token = *caller.identity;
  const std::string expires = absl::StrCat(
      absl::ToUnixSeconds(clock_.Now() + absl::Seconds(auth_limits::kSignedLinkSeconds)));
  const std::string signature =
      signer_.Sign(SignedText(repo, content.digest.ToHex(), size_bytes, expires, token));
  return absl::StrCat("size=", size_bytes, "&token=", token.name, "&expires=", expires,
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
