#include "server/http/hub_answer.h"

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/http/http_limits.h"
#include "server/http/socket_server.h"
#include "storage/base/error.h"

namespace wdelta {
namespace {

constexpr char kJsonType[] = "application/json; charset=utf-8";

std::string DumpJson(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

int HttpStatusOf(const absl::Status& error, absl::string_view reason) {
  if (reason == "MODEL_NOT_READY" || reason == "MODEL_IMPORTING") return 503;
  if (reason == "DISK_FULL") return 507;
  if (reason == "PARENT_COMMIT_MOVED") return 412;
  if (reason == "BODY_TOO_LARGE" || reason == "FILE_TOO_LARGE") return 413;
  switch (error.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kFailedPrecondition:
      return 409;
    case absl::StatusCode::kUnimplemented:
      return 501;
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnavailable:
      return 503;
    default:
      return 500;
  }
}

// Clients take a 404 without a code for a lost connection.
absl::string_view HubCodeOf(absl::string_view reason, int status) {
  if (reason == "REPO_NOT_FOUND") return "RepoNotFound";
  if (reason == "REVISION_NOT_FOUND" || reason == "TAG_NOT_FOUND") return "RevisionNotFound";
  if (reason == "FILE_NOT_FOUND") return "EntryNotFound";
  if (reason == "ROUTE_NOT_FOUND") return "RouteNotFound";
  return status == 404 ? "EntryNotFound" : reason;
}

// Printable ASCII on one line, as a header must be.
std::string HeaderText(absl::string_view text) {
  std::string line(text.substr(0, http_limits::kMaxErrorMessageChars));
  std::replace_if(
      line.begin(), line.end(),
      [](char c) { return !absl::ascii_isprint(static_cast<unsigned char>(c)); }, '?');
  return line;
}

}  // namespace

std::string BaseUrl(const httplib::Request& request) {
  const std::string host = request.get_header_value("Host");
  const bool is_plain = !host.empty() && std::all_of(host.begin(), host.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains(".-_:[]", c);
  });
  const bool is_https = request.has_header(kEncryptedHeader) ||
                        request.get_header_value("X-Forwarded-Proto") == "https";
  return absl::StrCat(is_https ? "https" : "http", "://",
                      is_plain ? host : absl::StrCat(request.local_addr, ":", request.local_port));
}

void AnswerJson(const nlohmann::json& json, httplib::Response& response) {
  response.status = 200;
  response.set_content(DumpJson(json), kJsonType);
}

void AnswerError(const absl::Status& error, httplib::Response& response) {
  const std::string reason = ErrorReason(error);
  const std::string message(error.message());
  response.status = HttpStatusOf(error, reason);
  const absl::string_view code = HubCodeOf(reason, response.status);
  if (!code.empty()) response.set_header("X-Error-Code", std::string(code));
  response.set_header("X-Error-Message", HeaderText(message));
  if (response.status == 401) response.set_header("WWW-Authenticate", "Bearer");
  if (response.status == 503) {
    response.set_header("Retry-After", absl::StrCat(http_limits::kRetryAfterSeconds));
  }
  response.set_content(DumpJson({{"error", message}}), kJsonType);
}

void AnswerMethodNotAllowed(const char* allowed, httplib::Response& response) {
  response.status = 405;
  response.set_header("Allow", allowed);
  response.set_content(DumpJson({{"error", absl::StrCat("expected one of ", allowed)}}), kJsonType);
}

}  // namespace wdelta
