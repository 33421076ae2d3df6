#include "server/http/hub_write_pages.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/http/http_limits.h"
#include "server/http/hub_answer.h"
#include "server/http/hub_body.h"
#include "server/http/hub_models.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/tensor/checkpoint.h"

namespace wdelta {
namespace {

using nlohmann::json;

absl::StatusOr<json> ReadJsonObject(const httplib::ContentReader& reader) {
  WDELTA_ASSIGN_OR_RETURN(const std::string body, ReadSmallBody(reader));
  return ParseJsonObject("body", body);
}

absl::Status CheckIsMain(const HubRoute& route) {
  if (route.revision == kMainBranch || route.revision == "refs/heads/main") return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kNotFound, "REVISION_NOT_FOUND",
      absl::StrCat("model '", absl::CHexEscape(route.repo), "': expected a commit to main, found '",
                   absl::CHexEscape(route.revision), "'"));
}

struct ObjectName {
  Digest digest;
  uint64_t size_bytes = 0;
};

absl::StatusOr<ObjectName> ParseObject(const json& object) {
  constexpr char kWhat[] = "object";
  ObjectName name;
  WDELTA_ASSIGN_OR_RETURN(const std::string oid, JsonString(kWhat, object, "oid"));
  WDELTA_ASSIGN_OR_RETURN(name.digest, Digest::FromHex(oid));
  WDELTA_ASSIGN_OR_RETURN(name.size_bytes, JsonSize(kWhat, object, "size"));
  return name;
}

json ErrorOfObject(int code, const absl::Status& error) {
  return {{"code", code}, {"message", std::string(error.message())}};
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
                          const ContentReader& reader, Response& response) {
  using Kind = HubRoute::Kind;
  absl::Status status;
  if (request.method == "PUT") {
    if (route.kind != Kind::kLfsObject) return false;
    status = PutObject(route, reader, response);
  } else if (request.method != "POST") {
    return false;
  } else if (route.kind == Kind::kCreateRepo) {
    status = CreateRepo(request, reader, response);
  } else if (route.kind == Kind::kValidateYaml) {
    status = ReadSmallBody(reader).status();
    AnswerJson({{"errors", json::array()}, {"warnings", json::array()}}, response);
  } else if (route.kind == Kind::kPreupload) {
    status = Preupload(route, reader, response);
  } else if (route.kind == Kind::kLfsBatch) {
    status = LfsBatch(route, request, reader, response);
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

absl::Status HubWritePages::CreateRepo(const Request& request, const ContentReader& reader,
                                       Response& response) {
  WDELTA_ASSIGN_OR_RETURN(const json body, ReadJsonObject(reader));
  WDELTA_ASSIGN_OR_RETURN(std::string repo, JsonString("body", body, "name"));
  const json organization = body.value("organization", json());
  if (organization.is_string()) repo = absl::StrCat(organization.get<std::string>(), "/", repo);
  const json type = body.value("type", json());
  if (!type.is_null() && type != json("model")) {
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_BODY",
                     "body: type: expected a model, the only kind of repository here");
  }
  WDELTA_RETURN_IF_ERROR(ValidateName(repo));
  const absl::Status known = store_.models().Resolve(repo).status();
  if (!known.ok() && !absl::IsNotFound(known)) return known;
  // A name without a version is nothing that could be kept: its first commit makes it.
  AnswerJson({{"url", absl::StrCat(BaseUrl(request), "/", repo)}, {"name", repo}}, response);
  if (known.ok()) response.status = 409;
  return absl::OkStatus();
}

absl::Status HubWritePages::Preupload(const HubRoute& route, const ContentReader& reader,
                                      Response& response) {
  WDELTA_RETURN_IF_ERROR(ValidateName(route.repo));
  WDELTA_RETURN_IF_ERROR(CheckIsMain(route));
  WDELTA_ASSIGN_OR_RETURN(const json body, ReadJsonObject(reader));
  WDELTA_ASSIGN_OR_RETURN(const json files, JsonList("body", body, "files"));
  json modes = json::array();
  for (const json& file : files) {
    WDELTA_ASSIGN_OR_RETURN(const std::string path, JsonString("file", file, "path"));
    WDELTA_ASSIGN_OR_RETURN(const uint64_t size_bytes, JsonSize("file", file, "size"));
    WDELTA_RETURN_IF_ERROR(ValidateCheckpointPath(path));
    const bool is_large = size_bytes > http_limits::kMaxInlineFileBytes || IsSafetensorsPath(path);
    modes.push_back({{"path", path},
                     {"uploadMode", is_large ? "lfs" : "regular"},
                     {"shouldIgnore", false},
                     {"oid", nullptr}});
  }
  AnswerJson({{"files", std::move(modes)}}, response);
  return absl::OkStatus();
}

absl::Status HubWritePages::LfsBatch(const HubRoute& route, const Request& request,
                                     const ContentReader& reader, Response& response) {
  WDELTA_RETURN_IF_ERROR(ValidateName(route.repo));
  WDELTA_ASSIGN_OR_RETURN(const json body, ReadJsonObject(reader));
  WDELTA_ASSIGN_OR_RETURN(const json objects, JsonList("body", body, "objects"));
  const std::string lfs_url =
      absl::StrCat(BaseUrl(request), "/", PercentEncode(route.repo), ".git/info/lfs");
  json answers = json::array();
  for (const json& object : objects) {
    WDELTA_ASSIGN_OR_RETURN(const ObjectName name, ParseObject(object));
    const std::string oid = name.digest.ToHex();
    json answer = {{"oid", oid}, {"size", name.size_bytes}};
    const absl::StatusOr<bool> has = upload_.Has(route.repo, name.digest, name.size_bytes);
    if (!has.ok()) {
      answer["error"] = ErrorOfObject(500, has.status());
    } else if (!*has) {
      answer["actions"] = {
          {"upload",
           {{"href", absl::StrCat(lfs_url, "/objects/", oid, "?size=", name.size_bytes)}}},
          {"verify", {{"href", absl::StrCat(lfs_url, "/verify")}}}};
    }
    answers.push_back(std::move(answer));
  }
  AnswerJson({{"transfer", "basic"}, {"objects", std::move(answers)}, {"hash_algo", "sha256"}},
             response);
  return absl::OkStatus();
}

absl::Status HubWritePages::PutObject(const HubRoute& route, const ContentReader& reader,
                                      Response& response) {
  WDELTA_ASSIGN_OR_RETURN(const Digest digest, Digest::FromHex(route.path));
  uint64_t size_bytes = 0;
  if (!absl::SimpleAtoi(route.Query("size"), &size_bytes)) {
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_TARGET",
                     "request target: expected a number of bytes as `size`");
  }
  WDELTA_ASSIGN_OR_RETURN(const auto incoming, objects_.Receive(digest, size_bytes));
  PieceBuffer buffer(incoming.get());
  absl::Status status;
  const bool is_whole = reader([&](const char* data, size_t size) {
    status = buffer.Take(data, size);
    return status.ok();
  });
  WDELTA_RETURN_IF_ERROR(status);
  if (!is_whole) {
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_BODY",
                     "body: expected all of what its headers announce");
  }
  WDELTA_RETURN_IF_ERROR(buffer.Flush());
  WDELTA_RETURN_IF_ERROR(incoming->Keep().status());
  AnswerJson(json::object(), response);
  response.set_header("ETag", absl::StrCat("\"", digest.ToHex(), "\""));
  return absl::OkStatus();
}

absl::Status HubWritePages::VerifyObject(const HubRoute& route, const ContentReader& reader,
                                         Response& response) {
  WDELTA_ASSIGN_OR_RETURN(const json body, ReadJsonObject(reader));
  WDELTA_ASSIGN_OR_RETURN(const ObjectName name, ParseObject(body));
  WDELTA_ASSIGN_OR_RETURN(const bool has, upload_.Has(route.repo, name.digest, name.size_bytes));
  if (!has) {
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
  HubCommitParser parser([this](const Digest& digest, absl::string_view content) -> absl::Status {
    if (objects_.Find(digest) != nullptr) return absl::OkStatus();
    WDELTA_ASSIGN_OR_RETURN(const auto incoming, objects_.Receive(digest, content.size()));
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
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_BODY",
                     "body: expected all of what its headers announce");
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
