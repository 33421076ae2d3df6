#include "server/http/hub_repo_pages.h"

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/http/hub_answer.h"
#include "server/http/hub_body.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

using nlohmann::json;

absl::Status OneBranch(const HubRoute& route) {
  return MakeError(absl::StatusCode::kInvalidArgument, "ONE_BRANCH",
                   absl::StrCat("model '", route.repo, "': branch: expected main, the only one ",
                                "here, found '", absl::CHexEscape(route.revision), "'"));
}

// The token's name, or the peer's address, as the gRPC services name clients that do not name
// themselves.
std::string AuthorOf(const HubCaller& caller, const httplib::Request& request) {
  if (caller.identity != nullptr) return caller.identity->name;
  const std::string& address = request.remote_addr;
  std::string author = absl::StrContains(address, ':') ? absl::StrCat("ipv6:[", address, "]")
                                                       : absl::StrCat("ipv4:", address);
  return !address.empty() && ValidateAuthor(author).ok() ? author : "";
}

}  // namespace

bool HubRepoPages::Serve(const HubRoute& route, const httplib::Request& request,
                         const httplib::ContentReader& reader, HubCaller& caller,
                         httplib::Response& response) {
  using Kind = HubRoute::Kind;
  const bool is_post = request.method == "POST";
  if (!is_post && request.method != "DELETE") return false;
  absl::Status status;
  if (route.kind == Kind::kCreateRepo && is_post) {
    status = CreateRepo(request, reader, caller, response);
  } else if (route.kind == Kind::kTag) {
    const std::string author = AuthorOf(caller, request);
    status = is_post ? CreateTag(route, caller, author, reader, response)
                     : DeleteTag(route, author, response);
  } else if (route.kind == Kind::kBranch) {
    status = is_post ? CreateBranch(route, reader) : OneBranch(route);
  } else {
    return false;
  }
  if (!status.ok()) AnswerError(status, response);
  return true;
}

absl::Status HubRepoPages::CreateRepo(const httplib::Request& request,
                                      const httplib::ContentReader& reader, HubCaller& caller,
                                      httplib::Response& response) {
  WDELTA_ASSIGN_OR_RETURN(const json body, ReadJsonObject(reader));
  WDELTA_ASSIGN_OR_RETURN(std::string repo, JsonString("body", body, "name"));
  const json organization = body.value("organization", json());
  if (organization.is_string()) repo = absl::StrCat(organization.get<std::string>(), "/", repo);
  const json type = body.value("type", json());
  if (!type.is_null() && type != json("model")) {
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_BODY",
                     "body: type: expected a model, the only kind of repository here");
  }
  caller.subject = repo;
  WDELTA_RETURN_IF_ERROR(caller.MayName(repo));
  const absl::Status made = repos_.Create(repo);
  if (!made.ok() && !absl::IsAlreadyExists(made)) return made;
  // Clients take the address from either answer.
  AnswerJson({{"url", absl::StrCat(BaseUrl(request), "/", repo)}, {"name", repo}}, response);
  if (!made.ok()) response.status = 409;
  return absl::OkStatus();
}

absl::Status HubRepoPages::CreateTag(const HubRoute& route, const HubCaller& caller,
                                     const std::string& author,
                                     const httplib::ContentReader& reader,
                                     httplib::Response& response) {
  WDELTA_ASSIGN_OR_RETURN(const json body, ReadJsonObject(reader));
  WDELTA_ASSIGN_OR_RETURN(const std::string tag, JsonString("body", body, "tag"));
  WDELTA_ASSIGN_OR_RETURN(const Model model,
                          repos_.Find(route.repo, route.revision, caller.name_check()));
  if (model.record.id().empty()) {
    return MakeError(absl::StatusCode::kNotFound, "REVISION_NOT_FOUND",
                     absl::StrCat("model '", route.repo, "' has no commit that could be tagged"));
  }
  WDELTA_RETURN_IF_ERROR(models_
                             .SetTag(route.repo, tag, absl::StrCat("id:", model.record.id()),
                                     author, /*must_be_new=*/true)
                             .status());
  AnswerJson(json::object(), response);
  return absl::OkStatus();
}

absl::Status HubRepoPages::DeleteTag(const HubRoute& route, const std::string& author,
                                     httplib::Response& response) {
  WDELTA_RETURN_IF_ERROR(repos_.Find(route.repo, kMainBranch, nullptr).status());
  WDELTA_RETURN_IF_ERROR(models_.DeleteTag(route.repo, route.revision, author));
  AnswerJson(json::object(), response);
  return absl::OkStatus();
}

absl::Status HubRepoPages::CreateBranch(const HubRoute& route,
                                        const httplib::ContentReader& reader) {
  WDELTA_RETURN_IF_ERROR(ReadSmallBody(reader).status());
  WDELTA_RETURN_IF_ERROR(repos_.Find(route.repo, kMainBranch, nullptr).status());
  if (route.revision != kMainBranch) return OneBranch(route);
  return MakeError(absl::StatusCode::kAlreadyExists, "BRANCH_EXISTS",
                   absl::StrCat("model '", route.repo, "' has a branch main"));
}

}  // namespace wdelta
