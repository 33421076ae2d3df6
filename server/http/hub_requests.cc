#include "server/http/hub_requests.h"

#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/http/http_limits.h"
#include "server/http/hub_body.h"
#include "server/http/hub_route.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/tensor/checkpoint.h"

namespace wdelta {
namespace {

using nlohmann::json;

absl::Status BadBody(absl::string_view text) {
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_BODY", text);
}

absl::StatusOr<ContentName> ParseObject(const json& object) {
  constexpr char kWhat[] = "object";
  if (!object.is_object()) return BadBody("objects: expected JSON objects");
  ContentName name;
  WDELTA_ASSIGN_OR_RETURN(const std::string oid, JsonString(kWhat, object, "oid"));
  WDELTA_ASSIGN_OR_RETURN(name.digest, ParseOid(oid));
  WDELTA_ASSIGN_OR_RETURN(name.size_bytes, JsonSize(kWhat, object, "size"));
  if (name.size_bytes <= limits::kMaxFileBytes) return name;
  return MakeError(absl::StatusCode::kResourceExhausted, "FILE_TOO_LARGE",
                   absl::StrCat("object ", oid, ": expected at most ", limits::kMaxFileBytes,
                                " bytes, found ", name.size_bytes));
}

// Of at most kMaxPathsInfo different paths.
class PathSet {
 public:
  // INVALID_ARGUMENT (`TOO_MANY_PATHS`).
  absl::Status Add(const std::string& path) {
    if (!seen_.insert(path).second) return absl::OkStatus();
    if (paths_.size() == http_limits::kMaxPathsInfo) {
      return MakeError(absl::StatusCode::kInvalidArgument, "TOO_MANY_PATHS",
                       absl::StrCat("body: paths: expected at most ", http_limits::kMaxPathsInfo));
    }
    paths_.push_back(path);
    return absl::OkStatus();
  }
  std::vector<std::string> Take() { return std::move(paths_); }

 private:
  absl::flat_hash_set<std::string> seen_;
  std::vector<std::string> paths_;
};

}  // namespace

absl::StatusOr<Digest> ParseOid(absl::string_view oid) {
  const absl::StatusOr<Digest> digest = Digest::FromHex(oid);
  if (digest.ok()) return digest;
  return MakeError(
      absl::StatusCode::kInvalidArgument, "BAD_DIGEST",
      absl::StrCat("oid: expected 64 lower-case hex digits, found '",
                   absl::CHexEscape(oid.substr(0, http_limits::kMaxErrorMessageChars)), "'"));
}

absl::StatusOr<ContentName> ParseVerifyRequest(const std::string& body) {
  WDELTA_ASSIGN_OR_RETURN(const json object, ParseJsonObject("body", body));
  return ParseObject(object);
}

absl::StatusOr<std::vector<ContentName>> ParseBatchRequest(const std::string& body) {
  WDELTA_ASSIGN_OR_RETURN(const json object, ParseJsonObject("body", body));
  WDELTA_ASSIGN_OR_RETURN(const json list, JsonList("body", object, "objects"));
  std::vector<ContentName> contents;
  for (const json& item : list) {
    WDELTA_ASSIGN_OR_RETURN(contents.emplace_back(), ParseObject(item));
  }
  return contents;
}

absl::StatusOr<std::vector<AnnouncedFile>> ParsePreuploadRequest(const std::string& body) {
  WDELTA_ASSIGN_OR_RETURN(const json object, ParseJsonObject("body", body));
  WDELTA_ASSIGN_OR_RETURN(const json list, JsonList("body", object, "files"));
  std::vector<AnnouncedFile> files;
  for (const json& item : list) {
    if (!item.is_object()) return BadBody("files: expected JSON objects");
    AnnouncedFile file;
    WDELTA_ASSIGN_OR_RETURN(file.path, JsonString("file", item, "path"));
    WDELTA_ASSIGN_OR_RETURN(file.size_bytes, JsonSize("file", item, "size"));
    WDELTA_RETURN_IF_ERROR(ValidateCheckpointPath(file.path));
    files.push_back(std::move(file));
  }
  return files;
}

absl::StatusOr<PathsRequest> ParsePathsRequest(absl::string_view content_type,
                                               const std::string& body) {
  PathsRequest parsed;
  PathSet paths;
  if (absl::StartsWithIgnoreCase(content_type, "application/json")) {
    WDELTA_ASSIGN_OR_RETURN(const json object, ParseJsonObject("body", body));
    WDELTA_ASSIGN_OR_RETURN(const json list, JsonList("body", object, "paths"));
    for (const json& path : list) {
      if (path.is_string()) WDELTA_RETURN_IF_ERROR(paths.Add(path.get<std::string>()));
    }
    parsed.paths = paths.Take();
    parsed.expand = object.value("expand", json()) == json(true);
    return parsed;
  }
  WDELTA_ASSIGN_OR_RETURN(const auto form, ParseForm(body));
  for (const auto& [key, value] : form) {
    if (key == "paths") WDELTA_RETURN_IF_ERROR(paths.Add(value));
    if (key == "expand") parsed.expand = absl::EqualsIgnoreCase(value, "true");
  }
  parsed.paths = paths.Take();
  return parsed;
}

}  // namespace wdelta
