// Repositories, tags and branches are made and deleted.
#include <algorithm>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "server/http/http_limits.h"
#include "server/http/hub_models.h"
#include "storage/base/error.h"
#include "tests/http/hub_upload_fixture.h"

namespace wdelta::testing {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;

class HubRepoPagesTest : public HubUploadTest {};

TEST_F(HubRepoPagesTest, ARepositoryIsEmptyBeforeItsFirstCommit) {
  EXPECT_EQ(StatusAndCode(Get("/api/models/n/m")), "404 RepoNotFound");
  EXPECT_EQ(StatusAndCode(Post("/api/repos/create", {{"name", "n/m"}})), "200");
  EXPECT_EQ(StatusAndCode(Post("/api/repos/create", {{"name", "n/m"}})), "409");
  EXPECT_EQ(GetJson("/api/models/n/m")["siblings"], json::array());
  EXPECT_EQ(GetJson("/api/models/n/m/tree/main?recursive=true"), json::array());
  EXPECT_EQ(GetJson("/api/models/n/m/commits/main"), json::array());
  EXPECT_EQ(GetJson("/api/models/n/m/refs")["tags"], json::array());
  EXPECT_EQ(StatusAndCode(Get("/n/m/resolve/main/config.json")), "404 EntryNotFound");
  EXPECT_EQ(StatusAndCode(Post("/api/models/n/m/tag/main", {{"tag", "v1"}})),
            "404 RevisionNotFound");
  const std::string none = GetJson("/api/models/n/m")["sha"];
  EXPECT_EQ(StatusAndCode(Commit({Inline("a", "1")}, {{"parentCommit", none}})), "200");
  EXPECT_THAT(Paths(), ElementsAre("a"));
  EXPECT_EQ(GetJson("/api/models/n/m")["siblings"].size(), 1U);
}

TEST_F(HubRepoPagesTest, ARepositoryWhoseVersionsAreGoneIsNone) {
  EXPECT_EQ(StatusAndCode(Post("/api/repos/create", {{"name", "n/m"}})), "200");
  EXPECT_EQ(StatusAndCode(Commit({Inline("a", "1")})), "200");
  RunJobs();
  ASSERT_TRUE(store().models().Delete("n/m").ok());
  EXPECT_EQ(StatusAndCode(Get("/api/models/n/m")), "404 RepoNotFound");
  // The same where the version came another way, and was looked at.
  EXPECT_EQ(StatusAndCode(Post("/api/repos/create", {{"name", "n/m"}})), "200");
  Push("n/m", SmallCheckpoint(1));
  EXPECT_EQ(StatusAndCode(Get("/api/models/n/m")), "200");
  ASSERT_TRUE(store().models().Delete("n/m").ok());
  EXPECT_EQ(StatusAndCode(Get("/api/models/n/m")), "404 RepoNotFound");
}

TEST_F(HubRepoPagesTest, OnlyEmptyRepositoriesAreBounded) {
  HubModels models(&store(), &catalog(), &clock());
  for (size_t i = 0; i <= http_limits::kMaxEmptyRepos; ++i) {
    ASSERT_TRUE(models.Create(absl::StrCat("made", i)).ok());
    models.NoteVersion(absl::StrCat("made", i));
  }
  for (size_t i = 0; i < http_limits::kMaxEmptyRepos; ++i) {
    ASSERT_TRUE(models.Create(absl::StrCat("empty", i)).ok());
  }
  EXPECT_EQ(ErrorReason(models.Create("one-more")), "TOO_MANY_EMPTY_REPOS");
}

TEST_F(HubRepoPagesTest, TagsAreMadeAndDeleted) {
  const std::string first = CommitOf(Push("n/m", SmallCheckpoint(1)).record);
  Push("n/m", SmallCheckpoint(2));
  EXPECT_EQ(StatusAndCode(Post("/api/models/n/m/tag/" + first, {{"tag", "v1"}})), "200");
  EXPECT_EQ(GetJson("/api/models/n/m/revision/v1")["sha"], first);
  EXPECT_EQ(StatusAndCode(Post("/api/models/n/m/tag/main", {{"tag", "v1"}})), "409 TAG_EXISTS");
  EXPECT_EQ(StatusAndCode(Post("/api/models/n/m/tag/none", {{"tag", "v2"}})),
            "404 RevisionNotFound");
  EXPECT_EQ(StatusAndCode(Post("/api/models/n/m/tag/main", {{"tag", "a b"}})), "400 BAD_TAG");
  EXPECT_EQ(StatusAndCode(Post("/api/models/none/tag/main", {{"tag", "v1"}})), "404 RepoNotFound");
  EXPECT_EQ(StatusAndCode(NewClient()->Delete("/api/models/n/m/tag/v1")), "200");
  EXPECT_EQ(StatusAndCode(NewClient()->Delete("/api/models/n/m/tag/v1")), "404 RevisionNotFound");
  EXPECT_EQ(GetJson("/api/models/n/m/refs")["tags"], json::array());
}

TEST_F(HubRepoPagesTest, MainIsTheOnlyBranch) {
  Push("n/m", SmallCheckpoint(1));
  EXPECT_EQ(StatusAndCode(Post("/api/models/n/m/branch/main", json::object())),
            "409 BRANCH_EXISTS");
  EXPECT_EQ(StatusAndCode(Post("/api/models/n/m/branch/dev", json::object())), "400 ONE_BRANCH");
  EXPECT_EQ(StatusAndCode(NewClient()->Delete("/api/models/n/m/branch/main")), "400 ONE_BRANCH");
  EXPECT_EQ(StatusAndCode(Post("/api/models/none/branch/dev", json::object())), "404 RepoNotFound");
  EXPECT_EQ(StatusAndCode(Get("/api/models/n/m/branch/main")), "405");
}

TEST_F(HubRepoPagesTest, OtherKindsOfRepositoriesAreRefused) {
  EXPECT_EQ(StatusAndCode(Post("/api/repos/create", {{"name", "m"}, {"type", "dataset"}})),
            "400 BAD_BODY");
  EXPECT_EQ(StatusAndCode(Post("/api/repos/create", {{"name", "a..b"}})), "400 BAD_NAME");
  EXPECT_EQ(StatusAndCode(Post("/api/repos/create", json::array())), "400 BAD_BODY");
  EXPECT_EQ(StatusAndCode(Post("/api/validate-yaml", {{"content", "a"}})), "200");
}

TEST_F(HubRepoPagesTest, TagsHaveAnAuthor) {
  Push("n/m", SmallCheckpoint(1));
  EXPECT_EQ(StatusAndCode(Post("/api/models/n/m/tag/main", {{"tag", "v1"}})), "200");
  EXPECT_EQ(StatusAndCode(NewClient()->Delete("/api/models/n/m/tag/v1")), "200");
  const auto changes = store().models().TagHistory("n/m", "v1", 0, 10);
  ASSERT_TRUE(changes.ok()) << changes.status();
  ASSERT_EQ(changes->size(), 2U);
  for (const TagChange& change : *changes) EXPECT_EQ(change.record.author(), "ipv4:127.0.0.1");
}

// A tag that is made is never one that is moved.
TEST_F(HubRepoPagesTest, OfTagsMadeAtOnceOneIsMade) {
  constexpr int kClients = 4;
  std::vector<std::string> commits;
  for (int i = 0; i < kClients; ++i) {
    commits.push_back(CommitOf(Push("n/m", SmallCheckpoint(1, i + 1)).record));
  }
  std::vector<std::string> answers(kClients);
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back([&, i] {
      answers[i] =
          StatusAndCode(Post(absl::StrCat("/api/models/n/m/tag/", commits[i]), {{"tag", "v1"}}));
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(std::count(answers.begin(), answers.end(), "200"), 1);
  EXPECT_EQ(std::count(answers.begin(), answers.end(), "409 TAG_EXISTS"), kClients - 1);
  EXPECT_EQ(store().models().TagHistory("n/m", "v1", 0, 10)->size(), 1U);
}

}  // namespace
}  // namespace wdelta::testing
