#include "server/http/hub_pages.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/http/http_limits.h"
#include "server/http/hub_answer.h"
#include "server/http/hub_listing.h"
#include "server/http/hub_requests.h"
#include "storage/base/error.h"

namespace wdelta {
namespace {

using nlohmann::json;

size_t PageSizeOf(const HubRoute& route) {
  uint64_t limit = 0;
  const bool is_given = absl::SimpleAtoi(route.Query("limit"), &limit) && limit > 0;
  return is_given ? std::min<uint64_t>(limit, http_limits::kMaxTreePage)
                  : http_limits::kMaxTreePage;
}

std::string NextPageLink(const HubRoute& route, const httplib::Request& request,
                         const std::string& cursor) {
  const std::string path = request.target.substr(0, request.target.find('?'));
  std::string query;
  for (const char* const key : {"recursive", "expand", "limit"}) {
    const std::string value = route.Query(key);
    if (!value.empty()) absl::StrAppend(&query, key, "=", PercentEncode(value), "&");
  }
  return absl::StrCat("<", BaseUrl(request), path, "?", query, "cursor=", PercentEncode(cursor),
                      ">; rel=\"next\"");
}

}  // namespace

void HubPages::Info(const HubRoute& route, const NameCheck& check_name,
                    httplib::Response& response) {
  const absl::StatusOr<Model> model = models_.Find(route.repo, route.revision, check_name);
  if (!model.ok()) return AnswerError(model.status(), response);
  AnswerJson(ModelInfoJson(model->record, route.IsTrue("blobs")), response);
}

void HubPages::Tree(const HubRoute& route, const httplib::Request& request,
                    const NameCheck& check_name, httplib::Response& response) {
  const absl::StatusOr<Model> model = models_.Find(route.repo, route.revision, check_name);
  if (!model.ok()) return AnswerError(model.status(), response);
  response.set_header(kCommitHeader, CommitOf(model->record));
  const std::vector<TreeEntry> entries =
      TreeOf(model->record, route.path, route.IsTrue("recursive"));
  if (entries.empty() && !route.path.empty()) {
    return AnswerError(MakeError(absl::StatusCode::kNotFound, "FILE_NOT_FOUND",
                                 absl::StrCat("model '", route.repo, "' has no folder '",
                                              absl::CHexEscape(route.path), "'")),
                       response);
  }
  const std::string cursor = route.Query("cursor");
  const size_t page_size = PageSizeOf(route);
  json page = json::array();
  for (const TreeEntry& entry : entries) {
    if (!cursor.empty() && entry.path <= cursor) continue;
    if (page.size() == page_size) {
      response.set_header("Link",
                          NextPageLink(route, request, page.back()["path"].get<std::string>()));
      break;
    }
    page.push_back(TreeEntryJson(model->record, entry, route.IsTrue("expand")));
  }
  AnswerJson(page, response);
}

void HubPages::Commits(const HubRoute& route, const NameCheck& check_name,
                       httplib::Response& response) {
  const absl::StatusOr<std::vector<Model>> history =
      models_.History(route.repo, route.revision, check_name);
  if (!history.ok()) return AnswerError(history.status(), response);
  json commits = json::array();
  for (const Model& version : *history) {
    const auto& metadata = version.record.metadata();
    const auto summary = metadata.find("commit_summary");
    commits.push_back(
        {{"id", CommitOf(version.record)},
         {"title", summary == metadata.end() ? absl::StrCat("Upload ", version.record.name())
                                             : summary->second},
         {"message", ""},
         {"date", HubTime(version.record.create_time_us())},
         {"authors", json::array()}});
  }
  AnswerJson(commits, response);
}

void HubPages::Refs(const HubRoute& route, const NameCheck& check_name,
                    httplib::Response& response) {
  const absl::StatusOr<Model> main = models_.Find(route.repo, kMainBranch, check_name);
  if (!main.ok()) return AnswerError(main.status(), response);
  const auto tags = models_.Tags(route.repo, check_name);
  if (!tags.ok()) return AnswerError(tags.status(), response);
  json listed = json::array();
  for (const HubModels::NamedCommit& tag : *tags) {
    listed.push_back({{"name", tag.name},
                      {"ref", absl::StrCat("refs/tags/", tag.name)},
                      {"targetCommit", tag.commit}});
  }
  const json branch = {{"name", kMainBranch},
                       {"ref", absl::StrCat("refs/heads/", kMainBranch)},
                       {"targetCommit", CommitOf(main->record)}};
  AnswerJson({{"branches", json::array({branch})},
              {"converts", json::array()},
              {"pullRequests", json::array()},
              {"tags", std::move(listed)}},
             response);
}

void HubPages::PathsInfo(const HubRoute& route, const httplib::Request& request,
                         const std::string& body, const NameCheck& check_name,
                         httplib::Response& response) {
  const absl::StatusOr<PathsRequest> parsed =
      ParsePathsRequest(request.get_header_value("Content-Type"), body);
  if (!parsed.ok()) return AnswerError(parsed.status(), response);
  const absl::StatusOr<Model> model = models_.Find(route.repo, route.revision, check_name);
  if (!model.ok()) return AnswerError(model.status(), response);
  json found = json::array();
  for (const std::string& path : parsed->paths) {
    const std::optional<TreeEntry> entry = TreeEntryAt(model->record, path);
    if (entry.has_value()) found.push_back(TreeEntryJson(model->record, *entry, parsed->expand));
  }
  AnswerJson(found, response);
}

void HubPages::WhoAmI(const Identity* caller, httplib::Response& response) {
  const std::string name = caller == nullptr ? "wdelta" : caller->name;
  const bool may_write = caller == nullptr || caller->may_write;
  AnswerJson({{"type", "user"},
              {"id", name},
              {"name", name},
              {"fullname", name},
              {"isPro", false},
              {"canPay", false},
              {"orgs", json::array()},
              {"auth",
               {{"type", "access_token"},
                {"accessToken", {{"displayName", name}, {"role", may_write ? "write" : "read"}}}}}},
             response);
}

}  // namespace wdelta
