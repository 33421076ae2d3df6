#include "server/http/hub_write_pages.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/http/http_limits.h"
#include "server/http/hub_answer.h"
#include "server/http/hub_body.h"
#include "server/http/hub_listing.h"
#include "server/http/hub_models.h"
#include "server/http/hub_requests.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/tensor/checkpoint.h"

namespace wdelta {
namespace {

using nlohmann::json;
using store::v1::FileRecord;

absl::Status CheckIsMain(const HubRoute& route) {
  if (route.revision == kMainBranch || route.revision == "refs/heads/main") return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kNotFound, "REVISION_NOT_FOUND",
      absl::StrCat("model '", absl::CHexEscape(route.repo), "': expected a commit to main, found '",
                   absl::CHexEscape(route.revision), "'"));
}

absl::Status CutBody() {
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_BODY",
                   "body: expected all of what its headers announce");
}

// Gathers what arrives in small bits.
class PieceBuffer {
 public:
  explicit PieceBuffer(HubObjects::Incoming* incoming) : incoming_(*incoming) {}

  absl::Status Take(const char* data, size_t size) {
    held_.append(data, size);
    return held_.size() < limits::kFetchPieceBytes ? absl::OkStatus() : Flush();
  }
  absl::Status Flush() {
    const absl::Status status = incoming_.Append(held_);
    held_.clear();
    return status;
  }

 private:
  HubObjects::Incoming& incoming_;
  std::string held_;
};

}  // namespace

bool HubWritePages::Serve(const HubRoute& route, const Request& request,
                          const ContentReader& reader, const HubCaller& caller,
                          Response& response) {
  using Kind = HubRoute::Kind;
  absl::Status status;
  if (request.method == "PUT") {
    if (route.kind != Kind::kLfsObject) return false;
    status = PutObject(route, reader, response);
  } else if (request.method != "POST") {
    return false;
  } else if (route.kind == Kind::kValidateYaml) {
    status = ReadSmallBody(reader).status();
    AnswerJson({{"errors", json::array()}, {"warnings", json::array()}}, response);
  } else if (route.kind == Kind::kPreupload) {
    status = Preupload(route, reader, response);
  } else if (route.kind == Kind::kLfsBatch) {
    status = LfsBatch(route, request, reader, caller, response);
  } else if (route.kind == Kind::kLfsVerify) {
    status = VerifyObject(route, reader, response);
  } else if (route.kind == Kind::kCommit) {
    status = Commit(route, request, reader, response);
  } else {
    return false;
  }
  if (!status.ok()) AnswerError(status, response);
  return true;
}

absl::Status HubWritePages::Preupload(const HubRoute& route, const ContentReader& reader,
                                      Response& response) {
  WDELTA_RETURN_IF_ERROR(ValidateName(route.repo));
  WDELTA_RETURN_IF_ERROR(CheckIsMain(route));
  WDELTA_ASSIGN_OR_RETURN(const std::string body, ReadSmallBody(reader));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<AnnouncedFile> files, ParsePreuploadRequest(body));
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> newest, upload_.Newest(route.repo));
  json modes = json::array();
  for (const auto& [path, size_bytes] : files) {
    const bool is_large = size_bytes > http_limits::kMaxInlineFileBytes || IsSafetensorsPath(path);
    // By it clients see what they need not send. That of a small file would be git's.
    const FileRecord* const known =
        is_large && newest.has_value() ? FindFile(newest->record, path) : nullptr;
    modes.push_back(
        {{"path", path},
         {"uploadMode", is_large ? "lfs" : "regular"},
         {"shouldIgnore", false},
         {"oid", known == nullptr ? json() : json(absl::BytesToHexString(known->sha256()))}});
  }
  AnswerJson({{"files", std::move(modes)}}, response);
  return absl::OkStatus();
}

absl::Status HubWritePages::LfsBatch(const HubRoute& route, const Request& request,
                                     const ContentReader& reader, const HubCaller& caller,
                                     Response& response) {
  WDELTA_RETURN_IF_ERROR(ValidateName(route.repo));
  WDELTA_ASSIGN_OR_RETURN(const std::string body, ReadSmallBody(reader));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<ContentName> contents, ParseBatchRequest(body));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<bool> has, upload_.Has(route.repo, contents));
  const std::string lfs_url =
      absl::StrCat(BaseUrl(request), "/", PercentEncode(route.repo), ".git/info/lfs");
  json answers = json::array();
  uint64_t wanted_bytes = 0;
  for (size_t i = 0; i < contents.size(); ++i) {
    const ContentName& content = contents[i];
    const std::string oid = content.digest.ToHex();
    json answer = {{"oid", oid}, {"size", content.size_bytes}};
    if (!has[i]) {
      wanted_bytes += content.size_bytes;
      const std::string query = access_.ObjectQuery(caller, route.repo, content);
      answer["actions"] = {
          {"upload", {{"href", absl::StrCat(lfs_url, "/objects/", oid, "?", query)}}},
          {"verify", {{"href", absl::StrCat(lfs_url, "/verify")}}}};
    }
    answers.push_back(std::move(answer));
  }
  if (wanted_bytes > 0) WDELTA_RETURN_IF_ERROR(objects_.CheckRoom(wanted_bytes));
  AnswerJson({{"transfer", "basic"}, {"objects", std::move(answers)}, {"hash_algo", "sha256"}},
             response);
  return absl::OkStatus();
}

absl::StatusOr<Admission::Slot> HubWritePages::EnterUpload() {
  std::optional<Admission::Slot> slot = uploads_.TryEnter();
  if (slot.has_value()) return *std::move(slot);
  return MakeError(absl::StatusCode::kUnavailable, "TOO_MANY_UPLOADS",
                   absl::StrCat("expected at most ", uploads_.limit(),
                                " requests with content at once; try again"));
}

absl::Status HubWritePages::PutObject(const HubRoute& route, const ContentReader& reader,
                                      Response& response) {
  WDELTA_RETURN_IF_ERROR(ValidateName(route.repo));
  ContentName name;
  WDELTA_ASSIGN_OR_RETURN(name.digest, ParseOid(route.path));
  if (!absl::SimpleAtoi(route.Query("size"), &name.size_bytes)) {
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_TARGET",
                     "request target: expected a number of bytes as `size`");
  }
  WDELTA_ASSIGN_OR_RETURN(const Admission::Slot slot, EnterUpload());
  WDELTA_ASSIGN_OR_RETURN(const auto incoming, objects_.Receive(route.repo, name));
  PieceBuffer buffer(incoming.get());
  absl::Status status;
  const bool is_whole = reader([&](const char* data, size_t size) {
    status = buffer.Take(data, size);
    return status.ok();
  });
  WDELTA_RETURN_IF_ERROR(status);
  if (!is_whole) {
    return CutBody();
  }
  WDELTA_RETURN_IF_ERROR(buffer.Flush());
  WDELTA_RETURN_IF_ERROR(incoming->Keep().status());
  AnswerJson(json::object(), response);
  response.set_header("ETag", absl::StrCat("\"", name.digest.ToHex(), "\""));
  return absl::OkStatus();
}

absl::Status HubWritePages::VerifyObject(const HubRoute& route, const ContentReader& reader,
                                         Response& response) {
  WDELTA_ASSIGN_OR_RETURN(const std::string body, ReadSmallBody(reader));
  WDELTA_ASSIGN_OR_RETURN(const ContentName name, ParseVerifyRequest(body));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<bool> has, upload_.Has(route.repo, {name}));
  if (!has[0]) {
    return MakeError(absl::StatusCode::kNotFound, "FILE_NOT_FOUND",
                     absl::StrCat("object ", name.digest.ToHex(), " was not sent"));
  }
  AnswerJson(json::object(), response);
  return absl::OkStatus();
}

absl::Status HubWritePages::Commit(const HubRoute& route, const Request& request,
                                   const ContentReader& reader, Response& response) {
  WDELTA_RETURN_IF_ERROR(ValidateName(route.repo));
  WDELTA_RETURN_IF_ERROR(CheckIsMain(route));
  if (route.IsTrue("create_pr")) {
    return MakeError(absl::StatusCode::kUnimplemented, "NO_PULL_REQUESTS",
                     "create_pr: there are no pull requests here");
  }
  WDELTA_ASSIGN_OR_RETURN(const Admission::Slot slot, EnterUpload());
  HubCommitParser parser([&](const Digest& digest, absl::string_view content) -> absl::Status {
    if (objects_.Find(route.repo, digest) != nullptr) return absl::OkStatus();
    WDELTA_ASSIGN_OR_RETURN(const auto incoming,
                            objects_.Receive(route.repo, {digest, content.size()}));
    WDELTA_RETURN_IF_ERROR(incoming->Append(content));
    return incoming->Keep().status();
  });
  absl::Status status;
  const bool is_whole = reader([&](const char* data, size_t size) {
    status = parser.Feed({data, size});
    return status.ok();
  });
  WDELTA_RETURN_IF_ERROR(status);
  if (!is_whole) {
    return CutBody();
  }
  WDELTA_ASSIGN_OR_RETURN(const HubCommit commit, parser.Finish());
  WDELTA_ASSIGN_OR_RETURN(const Model model, upload_.Commit(route.repo, commit));
  const std::string oid = CommitOf(model.record);
  AnswerJson({{"success", true},
              {"commitOid", oid},
              {"commitUrl", absl::StrCat(BaseUrl(request), "/", route.repo, "/commit/", oid)},
              {"hookOutput", ""}},
             response);
  return absl::OkStatus();
}

}  // namespace wdelta
