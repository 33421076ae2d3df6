#include "server/http/hub_commit.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/http/http_limits.h"
#include "server/http/hub_body.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/tensor/checkpoint.h"

namespace wdelta {
namespace {

using nlohmann::json;

absl::Status BadLine(absl::string_view what, absl::string_view expected) {
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_BODY",
                   absl::StrCat(what, ": expected ", expected));
}

absl::Status TooLarge(absl::string_view expected) {
  return MakeError(absl::StatusCode::kResourceExhausted, "BODY_TOO_LARGE",
                   absl::StrCat("commit: expected ", expected));
}

}  // namespace

absl::Status HubCommitParser::Feed(absl::string_view data) {
  while (!data.empty()) {
    const size_t end = data.find('\n');
    const absl::string_view part = data.substr(0, end);
    if (part.size() > http_limits::kMaxCommitLineBytes - line_.size()) {
      return TooLarge(
          absl::StrCat("lines of at most ", http_limits::kMaxCommitLineBytes, " bytes"));
    }
    line_.append(part.data(), part.size());
    if (end == absl::string_view::npos) return absl::OkStatus();
    WDELTA_RETURN_IF_ERROR(TakeLine());
    data.remove_prefix(end + 1);
  }
  return absl::OkStatus();
}

absl::StatusOr<HubCommit> HubCommitParser::Finish() {
  WDELTA_RETURN_IF_ERROR(TakeLine());
  if (!has_header_) return BadLine("commit", "a line with key `header`");
  return std::move(commit_);
}

absl::Status HubCommitParser::TakeLine() {
  const std::string line = std::exchange(line_, {});
  ++line_number_;
  if (absl::StripAsciiWhitespace(line).empty()) return absl::OkStatus();
  const std::string what = absl::StrCat("commit, line ", line_number_);
  WDELTA_ASSIGN_OR_RETURN(const json object, ParseJsonObject(what, line));
  WDELTA_ASSIGN_OR_RETURN(const std::string key, JsonString(what, object, "key"));
  const auto value = object.find("value");
  if (value == object.end() || !value->is_object()) return BadLine(what, "an object `value`");
  if (key == "header") {
    has_header_ = true;
    WDELTA_ASSIGN_OR_RETURN(commit_.summary, JsonString(what, *value, "summary"));
    const auto parent = value->find("parentCommit");
    if (parent == value->end() || parent->is_null()) return absl::OkStatus();
    WDELTA_ASSIGN_OR_RETURN(commit_.parent_commit, JsonString(what, *value, "parentCommit"));
    return absl::OkStatus();
  }
  if (commit_.operations.size() >= limits::kMaxEntriesPerUpload) {
    return TooLarge(absl::StrCat("at most ", limits::kMaxEntriesPerUpload, " operations"));
  }
  WDELTA_ASSIGN_OR_RETURN(std::string path, JsonString(what, *value, "path"));
  WDELTA_RETURN_IF_ERROR(CountPath(what, path));
  if (key == "deletedFile" || key == "deletedFolder") {
    const bool is_folder = key == "deletedFolder" && !absl::EndsWith(path, "/");
    commit_.operations.push_back(HubCommit::Remove{absl::StrCat(path, is_folder ? "/" : "")});
    return absl::OkStatus();
  }
  WDELTA_RETURN_IF_ERROR(ValidateCheckpointPath(path));
  if (key == "file") {
    WDELTA_ASSIGN_OR_RETURN(const std::string content, JsonString(what, *value, "content"));
    return TakeFile(what, path, value->value("encoding", json()) == json("base64"), content);
  }
  if (key != "lfsFile") {
    return BadLine(what, "a key of header, file, lfsFile, deletedFile, deletedFolder");
  }
  WDELTA_ASSIGN_OR_RETURN(const std::string oid, JsonString(what, *value, "oid"));
  const absl::StatusOr<Digest> digest = Digest::FromHex(oid);
  if (!digest.ok()) return BadLine(what, "64 lower-case hex digits as `oid`");
  HubCommit::Add added{std::move(path), *digest, std::nullopt};
  if (value->contains("size")) {
    WDELTA_ASSIGN_OR_RETURN(added.size_bytes, JsonSize(what, *value, "size"));
  }
  commit_.operations.push_back(std::move(added));
  return absl::OkStatus();
}

absl::Status HubCommitParser::CountPath(const std::string& what, const std::string& path) {
  if (path.size() > limits::kMaxPathBytes) {
    return BadLine(what, absl::StrCat("at most ", limits::kMaxPathBytes, " bytes as `path`, found ",
                                      path.size()));
  }
  path_bytes_ += path.size();
  if (path_bytes_ <= http_limits::kMaxCommitPathBytes) return absl::OkStatus();
  return TooLarge(
      absl::StrCat("at most ", http_limits::kMaxCommitPathBytes, " bytes of paths in all"));
}

absl::Status HubCommitParser::TakeFile(const std::string& what, const std::string& path,
                                       bool is_base64, const std::string& content) {
  std::string decoded;
  if (is_base64 && !absl::Base64Unescape(content, &decoded)) {
    return BadLine(what, "`content` in base64");
  }
  const std::string& bytes = is_base64 ? decoded : content;
  const Digest digest = Digest::Of(bytes);
  WDELTA_RETURN_IF_ERROR(keep_content_(digest, bytes));
  commit_.operations.push_back(HubCommit::Add{path, digest, bytes.size()});
  return absl::OkStatus();
}

}  // namespace wdelta
