#include "server/http/hub_body.h"

#include "absl/strings/str_cat.h"
#include "server/http/http_limits.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

using nlohmann::json;

absl::Status BadBody(absl::string_view what, absl::string_view expected) {
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_BODY",
                   absl::StrCat(what, ": expected ", expected));
}

}  // namespace

absl::StatusOr<std::string> ReadSmallBody(const httplib::ContentReader& reader) {
  std::string body;
  bool is_too_large = false;
  const bool is_whole = reader([&](const char* data, size_t size) {
    is_too_large = size > http_limits::kMaxSmallBodyBytes - body.size();
    if (!is_too_large) body.append(data, size);
    return !is_too_large;
  });
  if (is_too_large) {
    return MakeError(
        absl::StatusCode::kResourceExhausted, "BODY_TOO_LARGE",
        absl::StrCat("body: expected at most ", http_limits::kMaxSmallBodyBytes, " bytes"));
  }
  if (!is_whole) {
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_BODY",
                     "body: expected all of what its headers announce");
  }
  return body;
}

absl::StatusOr<json> ParseJsonObject(absl::string_view what, const std::string& text) {
  bool is_too_deep = false;
  size_t values = 0;
  // What it does not keep takes no memory.
  const auto keep = [&](int depth, json::parse_event_t, json&) {
    is_too_deep = is_too_deep || depth > limits::kMaxJsonDepth;
    return !is_too_deep && ++values <= http_limits::kMaxJsonValues;
  };
  json parsed = json::parse(text, keep, false);
  if (is_too_deep) return BadBody(what, absl::StrCat("at most ", limits::kMaxJsonDepth, " levels"));
  if (values > http_limits::kMaxJsonValues) {
    return BadBody(what, absl::StrCat("at most ", http_limits::kMaxJsonValues, " values"));
  }
  if (!parsed.is_object()) return BadBody(what, "a JSON object");
  return parsed;
}

absl::StatusOr<json> ReadJsonObject(const httplib::ContentReader& reader) {
  WDELTA_ASSIGN_OR_RETURN(const std::string body, ReadSmallBody(reader));
  return ParseJsonObject("body", body);
}

absl::StatusOr<std::string> JsonString(absl::string_view what, const json& object,
                                       const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) {
    return BadBody(what, absl::StrCat("a string `", key, "`"));
  }
  return found->get<std::string>();
}

absl::StatusOr<uint64_t> JsonSize(absl::string_view what, const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_unsigned()) {
    return BadBody(what, absl::StrCat("a number of bytes `", key, "`"));
  }
  return found->get<uint64_t>();
}

absl::StatusOr<json> JsonList(absl::string_view what, const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_array()) {
    return BadBody(what, absl::StrCat("a list `", key, "`"));
  }
  return *found;
}

}  // namespace wdelta
