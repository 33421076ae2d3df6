#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "server/http/http_limits.h"
#include "server/http/hub_models.h"
#include "tests/http/http_fixture.h"

namespace wdelta::testing {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;

class HubPagesTest : public HttpTest {
 protected:
  json PathsInfo(const std::string& target, const std::string& body, const char* type) {
    const httplib::Result result = NewClient()->Post(target, body, type);
    EXPECT_EQ(StatusAndCode(result), "200");
    return result ? json::parse(result->body, nullptr, false) : json();
  }
};

std::vector<std::string> PathsOf(const json& entries) {
  std::vector<std::string> paths;
  for (const json& entry : entries) paths.push_back(entry["path"].get<std::string>());
  return paths;
}

TestFiles WithFolders() {
  TestFiles files = SmallCheckpoint(1);
  files["sub/a.txt"] = "a";
  files["sub/deep/b.txt"] = "bb";
  return files;
}

TEST_F(HubPagesTest, InfoTellsFilesAndCommit) {
  const Model model = Push("ns/m", SmallCheckpoint(1));
  const json info = GetJson("/api/models/ns/m");
  EXPECT_EQ(info["id"], "ns/m");
  EXPECT_EQ(info["author"], "ns");
  EXPECT_EQ(info["sha"], absl::BytesToHexString(model.record.digest()).substr(0, 40));
  EXPECT_EQ(info["private"], false);
  ASSERT_EQ(info["siblings"].size(), 2U);
  EXPECT_EQ(info["siblings"][0], json({{"rfilename", "config.json"}}));
  const json with_blobs = GetJson("/api/models/ns/m/revision/main?blobs=True");
  const json& weights = with_blobs["siblings"][1];
  EXPECT_EQ(weights["size"], model.record.files(1).size_bytes());
  EXPECT_EQ(weights["lfs"]["sha256"], absl::BytesToHexString(model.record.files(1).sha256()));
}

TEST_F(HubPagesTest, RevisionsAreMainTagsAndDigests) {
  const Model first = Push("m", SmallCheckpoint(1));
  ASSERT_TRUE(store().models().SetTag("m", "v1", "m").ok());
  const Model second = Push("m", SmallCheckpoint(2));
  const std::string digest = absl::BytesToHexString(first.record.digest());
  const auto sha_at = [this](const std::string& revision) {
    return GetJson("/api/models/m/revision/" + revision)["sha"].get<std::string>();
  };
  const std::string first_commit = CommitOf(first.record);
  const std::string second_commit = CommitOf(second.record);
  EXPECT_EQ(sha_at("main"), second_commit);
  EXPECT_EQ(sha_at("HEAD"), second_commit);
  EXPECT_EQ(sha_at("refs%2Fheads%2Fmain"), second_commit);
  EXPECT_EQ(sha_at("v1"), first_commit);
  EXPECT_EQ(sha_at("refs%2Ftags%2Fv1"), first_commit);
  EXPECT_EQ(sha_at(first_commit), first_commit);
  EXPECT_EQ(sha_at(digest), first_commit);
  EXPECT_EQ(sha_at(digest.substr(0, 8)), first_commit);
  EXPECT_EQ(StatusAndCode(Get("/api/models/m/revision/v2")), "404 RevisionNotFound");
  EXPECT_EQ(StatusAndCode(Get("/api/models/m/revision/refs%2Fheads%2Fdev")),
            "404 RevisionNotFound");
  EXPECT_EQ(StatusAndCode(Get("/api/models/m/revision/" + digest.substr(0, 7))),
            "404 RevisionNotFound");
  EXPECT_EQ(StatusAndCode(Get("/api/models/m/revision/" + std::string(40, '0'))),
            "404 RevisionNotFound");
}

// The digest of a model that another name has too is a revision of both, and of no third.
TEST_F(HubPagesTest, CommitsBelongToTheirRepository) {
  const Model one = Push("one", SmallCheckpoint(1));
  Push("two", SmallCheckpoint(1));
  Push("three", SmallCheckpoint(3));
  const std::string commit = CommitOf(one.record);
  EXPECT_EQ(GetJson("/api/models/one/revision/" + commit)["id"], "one");
  EXPECT_EQ(GetJson("/api/models/two/revision/" + commit)["id"], "two");
  EXPECT_EQ(StatusAndCode(Get("/api/models/three/revision/" + commit)), "404 RevisionNotFound");
  ASSERT_TRUE(store().models().Delete("one").ok());
  EXPECT_EQ(StatusAndCode(Get("/api/models/one/revision/" + commit)), "404 RepoNotFound");
  EXPECT_EQ(GetJson("/api/models/two/revision/" + commit)["sha"], commit);
}

TEST_F(HubPagesTest, TreeListsFilesAndFolders) {
  const Model model = Push("m", WithFolders());
  EXPECT_THAT(PathsOf(GetJson("/api/models/m/tree/main")),
              ElementsAre("config.json", "model.safetensors", "sub"));
  const json all = GetJson("/api/models/m/tree/" + CommitOf(model.record) + "?recursive=true");
  EXPECT_THAT(PathsOf(all), ElementsAre("config.json", "model.safetensors", "sub", "sub/a.txt",
                                        "sub/deep", "sub/deep/b.txt"));
  EXPECT_EQ(all[2]["type"], "directory");
  EXPECT_EQ(all[3]["type"], "file");
  EXPECT_EQ(all[3]["size"], 1);
  EXPECT_EQ(all[3]["lfs"]["oid"], Digest::Of("a").ToHex());
  EXPECT_FALSE(all[3].contains("lastCommit"));
  const json below = GetJson("/api/models/m/tree/main/sub?expand=True");
  EXPECT_THAT(PathsOf(below), ElementsAre("sub/a.txt", "sub/deep"));
  EXPECT_EQ(below[0]["lastCommit"]["id"], CommitOf(model.record));
  EXPECT_EQ(StatusAndCode(Get("/api/models/m/tree/main/none")), "404 EntryNotFound");
  EXPECT_EQ(StatusAndCode(Get("/api/models/m/tree/none")), "404 RevisionNotFound");
  EXPECT_EQ(StatusAndCode(Get("/api/models/none/tree/main")), "404 RepoNotFound");
}

TEST_F(HubPagesTest, TreeComesInPages) {
  Push("m", WithFolders());
  std::vector<std::string> paths;
  std::string target = "/api/models/m/tree/main?recursive=true&limit=2";
  for (int page = 0; page < 3; ++page) {
    const httplib::Result result = Get(target);
    ASSERT_EQ(StatusAndCode(result), "200");
    for (const std::string& path : PathsOf(json::parse(result->body))) paths.push_back(path);
    const std::string link = result->get_header_value("Link");
    if (page == 2) {
      EXPECT_EQ(link, "");
      break;
    }
    const std::string base = absl::StrCat("<http://127.0.0.1:", port());
    ASSERT_TRUE(absl::StartsWith(link, base) && absl::EndsWith(link, ">; rel=\"next\"")) << link;
    target = link.substr(base.size(), link.find('>') - base.size());
  }
  EXPECT_THAT(paths, ElementsAre("config.json", "model.safetensors", "sub", "sub/a.txt", "sub/deep",
                                 "sub/deep/b.txt"));
}

TEST_F(HubPagesTest, PathsInfoLeavesOutWhatIsNotThere) {
  Push("m", WithFolders());
  const std::string target = "/api/models/m/paths-info/main";
  const json of_form = PathsInfo(target, "paths=sub&paths=none&paths=sub%2Fa.txt&expand=True",
                                 "application/x-www-form-urlencoded");
  EXPECT_THAT(PathsOf(of_form), ElementsAre("sub", "sub/a.txt"));
  EXPECT_TRUE(of_form[1].contains("lastCommit"));
  const json of_json =
      PathsInfo(target, R"({"paths":["config.json"],"expand":false})", "application/json");
  EXPECT_THAT(PathsOf(of_json), ElementsAre("config.json"));
  EXPECT_FALSE(of_json[0].contains("lastCommit"));
  EXPECT_EQ(StatusAndCode(NewClient()->Post(target, "[1", "application/json")), "400 BAD_BODY");
  const std::string deep = R"({"paths":)" + std::string(100'000, '[');
  EXPECT_EQ(StatusAndCode(NewClient()->Post(target, deep, "application/json")), "400 BAD_BODY");
  EXPECT_EQ(StatusAndCode(NewClient()->Post("/api/models/none/paths-info/main", "paths=a",
                                            "application/x-www-form-urlencoded")),
            "404 RepoNotFound");
  EXPECT_EQ(StatusAndCode(NewClient()->Post(target, std::string(2 << 20, 'a'), "text/plain")),
            "413 BODY_TOO_LARGE");
}

TEST_F(HubPagesTest, ManySmallValuesTakeNoMemory) {
  Push("m", SmallCheckpoint(1));
  std::string body = R"({"paths":[[])";
  for (size_t i = 0; i < http_limits::kMaxJsonValues; ++i) body += ",[]";
  body += "]}";
  const httplib::Result result =
      NewClient()->Post("/api/models/m/paths-info/main", body, "application/json");
  EXPECT_EQ(StatusAndCode(result), "400 BAD_BODY");
  EXPECT_TRUE(absl::StrContains(result->get_header_value("X-Error-Message"), "values"));
}

TEST_F(HubPagesTest, PathsInfoIsBounded) {
  Push("m", WithFolders());
  const std::string target = "/api/models/m/paths-info/main";
  std::vector<std::string> paths;
  for (size_t i = 0; i < http_limits::kMaxPathsInfo - 1; ++i) paths.push_back(absl::StrCat(i));
  // The same path many times is one.
  paths.insert(paths.end(), 5000, "sub");
  const json body = {{"paths", paths}};
  EXPECT_THAT(PathsOf(PathsInfo(target, body.dump(), "application/json")), ElementsAre("sub"));
  std::string form = "paths=" + absl::StrJoin(paths, "&paths=");
  EXPECT_THAT(PathsOf(PathsInfo(target, form, "application/x-www-form-urlencoded")),
              ElementsAre("sub"));
  form += "&paths=one-more";
  EXPECT_EQ(StatusAndCode(NewClient()->Post(target, form, "application/x-www-form-urlencoded")),
            "400 TOO_MANY_PATHS");
  paths.push_back("one-more");
  EXPECT_EQ(
      StatusAndCode(NewClient()->Post(target, json({{"paths", paths}}).dump(), "application/json")),
      "400 TOO_MANY_PATHS");
}

TEST_F(HubPagesTest, CommitsAreTheVersionsUpToARevision) {
  const std::string first = CommitOf(Push("m", SmallCheckpoint(1)).record);
  const std::string second = CommitOf(Push("m", SmallCheckpoint(2)).record);
  Push("m2", SmallCheckpoint(3));
  const json all = GetJson("/api/models/m/commits/main");
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0]["id"], second);
  EXPECT_EQ(all[1]["id"], first);
  EXPECT_EQ(all[1]["title"], "Upload m");
  const json up_to_first = GetJson("/api/models/m/commits/" + first);
  ASSERT_EQ(up_to_first.size(), 1U);
  EXPECT_EQ(up_to_first[0]["id"], first);
  EXPECT_EQ(StatusAndCode(Get("/api/models/none/commits/main")), "404 RepoNotFound");
}

TEST_F(HubPagesTest, RefsAreMainAndTags) {
  const Model model = Push("m", SmallCheckpoint(1));
  ASSERT_TRUE(store().models().SetTag("m", "v1", "m").ok());
  const json refs = GetJson("/api/models/m/refs");
  EXPECT_EQ(refs["branches"][0]["name"], "main");
  EXPECT_EQ(refs["branches"][0]["targetCommit"], CommitOf(model.record));
  ASSERT_EQ(refs["tags"].size(), 1U);
  EXPECT_EQ(refs["tags"][0]["ref"], "refs/tags/v1");
  EXPECT_EQ(StatusAndCode(Get("/api/models/none/refs")), "404 RepoNotFound");
}

// While its served bytes are not settled, a model is there but not to be had yet.
TEST_F(HubPagesTest, ModelsThatMayLoseBitsAreServedOnceStored) {
  store::v1::FidelityPolicy policy;
  policy.mutable_all()->set_strategy(store::v1::NEAR_LOSSLESS);
  policy.mutable_all()->set_relative_error(0.1);
  Push("base", SmallCheckpoint(1));
  Stage("m", SmallCheckpoint(1, 7), policy, "base");
  for (const char* const target : {"/api/models/m", "/m/resolve/main/config.json"}) {
    const httplib::Result early = Get(target);
    EXPECT_EQ(StatusAndCode(early), "503 MODEL_NOT_READY") << target;
    EXPECT_EQ(early->get_header_value("Retry-After"), "1");
  }
  RunJobs();
  EXPECT_EQ(StatusAndCode(Get("/api/models/m")), "200");
  EXPECT_EQ(StatusAndCode(Get("/m/resolve/main/config.json")), "200");
}

// A version that is being stored with loss, or never will be, does not hide the one before.
TEST_F(HubPagesTest, MainIsTheNewestVersionThatIsServed) {
  store::v1::FidelityPolicy policy;
  policy.mutable_all()->set_strategy(store::v1::NEAR_LOSSLESS);
  policy.mutable_all()->set_relative_error(0.1);
  Push("base", SmallCheckpoint(1));
  const Model first = Push("m", SmallCheckpoint(1));
  const Model lossy = Stage("m", SmallCheckpoint(1, 7), policy, "base");
  ASSERT_TRUE(store().models().SetTag("m", "v2", "m").ok());
  const std::string commit = CommitOf(first.record);
  EXPECT_EQ(GetJson("/api/models/m")["sha"], commit);
  EXPECT_EQ(StatusAndCode(Get("/m/resolve/main/config.json")), "200");
  EXPECT_EQ(GetJson("/api/models/m/refs")["branches"][0]["targetCommit"], commit);
  EXPECT_EQ(GetJson("/api/models/m/commits/main").size(), 1U);
  EXPECT_EQ(StatusAndCode(Get("/api/models/m/revision/v2")), "503 MODEL_NOT_READY");
  ASSERT_TRUE(store().jobs().RequestCancel(lossy.record.job_id()).ok());
  EXPECT_EQ(GetJson("/api/models/m")["sha"], commit);
  EXPECT_EQ(StatusAndCode(Get("/api/models/m/revision/v2")), "404 RevisionNotFound");
  // Where nothing is served, `main` is not there either.
  const Model alone = Stage("alone", SmallCheckpoint(1, 7), policy, "base");
  EXPECT_EQ(StatusAndCode(Get("/api/models/alone")), "503 MODEL_NOT_READY");
  ASSERT_TRUE(store().jobs().RequestCancel(alone.record.job_id()).ok());
  EXPECT_EQ(StatusAndCode(Get("/api/models/alone")), "404 RevisionNotFound");
}

TEST_F(HubPagesTest, OtherPagesAndPathsWithout) {
  EXPECT_EQ(GetJson("/api/whoami-v2")["type"], "user");
  EXPECT_EQ(StatusAndCode(Get("/healthz")), "200");
  EXPECT_EQ(StatusAndCode(Head("/api/telemetry/transformers")), "200");
  EXPECT_EQ(StatusAndCode(Get("/")), "404 RouteNotFound");
  EXPECT_EQ(StatusAndCode(Get("/api/models/m/discussions/1")), "404 RouteNotFound");
  EXPECT_EQ(StatusAndCode(Get("/api/models/a..b")), "404 RepoNotFound");
  EXPECT_EQ(StatusAndCode(Get("/api/models/%2e%2e/m")), "404 RepoNotFound");
  EXPECT_EQ(StatusAndCode(NewClient()->Post("/api/models/m", "{}", "application/json")), "405");
  EXPECT_EQ(StatusAndCode(Get("/api/models/m/paths-info/main")), "405");
}

TEST_F(HubPagesTest, AnswersCarryTheIdOfTheRequest) {
  const httplib::Result given = Get("/healthz", {{"X-Request-Id", "mine"}});
  EXPECT_EQ(given->get_header_value("X-Request-Id"), "mine");
  EXPECT_EQ(Get("/healthz")->get_header_value("X-Request-Id").size(), 16U);
  const httplib::Result broken = Get("/healthz", {{"X-Request-Id", std::string(500, 'a')}});
  EXPECT_EQ(broken->get_header_value("X-Request-Id").size(), 16U);
}

}  // namespace
}  // namespace wdelta::testing
