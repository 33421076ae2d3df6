// Pulling the difference to what is held, from the real services in this process.
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/delta_pull.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "tests/client/delta_pull_fixture.h"

namespace wdelta::testing {
namespace {

using ::testing::HasSubstr;

TEST_F(DeltaPullTest, OnlyTheDifferenceComesOverTheWire) {
  PushTuned();
  PullOptions options = HoldingBase();
  Progress last;
  options.progress = [&](const Progress& progress) { last = progress; };
  const auto result = Pull("tuned", options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->held_refusal.ok()) << result->held_refusal;
  ExpectPulled("tuned");
  ExpectHeldUntouched();
  EXPECT_EQ(result->file_count, 2u);
  EXPECT_EQ(result->applied_count, 2u);
  EXPECT_EQ(result->received_bytes, proxy_.delta_bytes);
  EXPECT_EQ(result->received_bytes, result->model.stored_bytes());
  EXPECT_LT(result->received_bytes, SizeOf(files_["tuned"]) / 2);
  EXPECT_EQ(proxy_.files_fetched, 0);
  EXPECT_EQ(last.done_bytes, result->received_bytes);
  EXPECT_EQ(last.total_bytes, result->received_bytes);
  // Once more: all is there.
  const auto again = Pull("tuned", options);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->unchanged_count, 2u);
  EXPECT_EQ(proxy_.delta_requests.size(), 1u);
}

TEST_F(DeltaPullTest, AChainAndAFoldedDeltaAreApplied) {
  PushDisjointChain();
  ASSERT_TRUE(Pull("d2", HoldingBase()).ok());
  ExpectPulled("d2");
  std::filesystem::remove_all(folder_ / "out");
  // From the grandchild down to a sibling of its parent.
  PushTuned();
  Hold("d2", folder_ / "held2");
  PullOptions options;
  options.held = {{"d2", folder_ / "held2"}};
  const auto result = Pull("tuned", options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->applied_count, 2u) << result->held_refusal;
  ExpectPulled("tuned");
  EXPECT_EQ(proxy_.files_fetched, 0);
}

TEST_F(DeltaPullTest, AChangedHeldFolderIsNamedAndAllIsFetched) {
  PushTuned();
  std::string changed = files_["base"]["sub/model.safetensors"];
  changed[changed.size() / 2] ^= 1;
  struct Row {
    std::string path, content, found;
  };
  for (const Row& row :
       {Row{"sub/model.safetensors", changed, "SHA-256"}, Row{"config.json", "{ }", "found 3"},
        Row{"config.json", "[]", "SHA-256"}}) {
    Hold("base", folder_ / "held");
    folder_.Write("held/" + row.path, row.content);
    PullOptions options = HoldingBase();
    options.requires_delta = true;
    const absl::Status refused = Pull("tuned", options).status();
    EXPECT_EQ(ErrorReason(refused), "HELD_CHANGED") << refused;
    EXPECT_THAT(std::string(refused.message()), HasSubstr(folder_ / ("held/" + row.path)));
    EXPECT_THAT(std::string(refused.message()), HasSubstr(row.found));
    EXPECT_FALSE(folder_.Has("out/config.json"));
    // Sizes are looked at before anything comes over the wire.
    EXPECT_EQ(proxy_.delta_requests.empty(), row.found != "SHA-256");
    options.requires_delta = false;
    const auto result = Pull("tuned", options);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(ErrorReason(result->held_refusal), "HELD_CHANGED");
    EXPECT_EQ(result->applied_count, 0u);
    ExpectPulled("tuned");
    EXPECT_EQ(folder_.Read("held/" + row.path), row.content);
    std::filesystem::remove_all(folder_ / "out");
    proxy_.delta_requests.clear();
  }
  std::filesystem::remove(folder_ / "held/config.json");
  EXPECT_THAT(std::string(Pull("tuned", HoldingBase())->held_refusal.message()),
              HasSubstr("held/config.json: expected 2 bytes"));
}

TEST_F(DeltaPullTest, AWrongHeldModelIsOfNoUse) {
  PushTuned();
  PullOptions options = HoldingBase();
  options.held[0].model = "tuned";
  const auto wrong = Pull("tuned", options);
  ASSERT_TRUE(wrong.ok()) << wrong.status();
  EXPECT_EQ(ErrorReason(wrong->held_refusal), "HELD_CHANGED") << wrong->held_refusal;
  ExpectPulled("tuned");
  std::filesystem::remove_all(folder_ / "out");
  options.held[0].model = "nosuch";
  EXPECT_EQ(ErrorReason(Pull("tuned", options)->held_refusal), "MODEL_NOT_FOUND");
  std::filesystem::remove_all(folder_ / "out");
  // Beside one that is right it does no harm.
  options.held.push_back({"base", folder_ / "held"});
  const auto right = Pull("tuned", options);
  ASSERT_TRUE(right.ok()) << right.status();
  EXPECT_EQ(right->applied_count, 2u);
  ExpectPulled("tuned");
}

TEST(DeltaPull, ADeltaThatATokenIsNotForIsDoneWithout) {
  EXPECT_TRUE(MayDoWithoutDelta(absl::PermissionDeniedError("held by another team")));
  EXPECT_FALSE(MayDoWithoutDelta(absl::UnauthenticatedError("no token")));
}

TEST_F(DeltaPullTest, AFolderIsBroughtUpToDateInItsPlace) {
  PushTuned();
  PullOptions options = HoldingBase();
  const auto result = PullModel(proxy_.client(), "tuned", folder_ / "held", options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->applied_count, 2u) << result->held_refusal;
  for (const auto& [path, data] : files_["tuned"]) {
    EXPECT_TRUE(folder_.Read("held/" + path) == data) << path;
  }
}

TEST_F(DeltaPullTest, AFewFilesAreFetchedThemselves) {
  PushTuned();
  PullOptions options = HoldingBase();
  options.paths = {"config.json"};
  const auto result = Pull("tuned", options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(folder_.Read("out/config.json"), "{\"t\": 1}");
  EXPECT_EQ(result->received_bytes, 8u);
  EXPECT_TRUE(proxy_.delta_requests.empty());
}

// `two` is a root of two shards; what is held was made from it, and takes little.
TEST_F(DeltaPullTest, OneOfTwoShardsIsNotFetchedWhereADeltaWillDo) {
  const std::vector<TestTensor> a = {RandomWeights("a", {300, 512}, 21)};
  const std::vector<TestTensor> b = {RandomWeights("b", {300, 512}, 22)};
  PushFiles("two",
            {{"a.safetensors", BuildSafetensors(a)}, {"b.safetensors", BuildSafetensors(b)}});
  PushFiles("child",
            {{"a.safetensors", BuildSafetensors({FineTuned(a[0], 23)})},
             {"b.safetensors", BuildSafetensors(b)}},
            {"two"});
  Hold("child", folder_ / "held2");
  PullOptions options;
  options.held = {{"child", folder_ / "held2"}};
  for (const bool requires_delta : {true, false}) {
    options.requires_delta = requires_delta;
    folder_.Write("out/a.safetensors", files_["two"]["a.safetensors"]);
    const auto result = Pull("two", options);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->model.storage().parent(), "");
    EXPECT_EQ(result->unchanged_count, 1u);
    EXPECT_EQ(result->applied_count, 1u) << result->held_refusal;
    EXPECT_EQ(proxy_.files_fetched, 0);
    EXPECT_EQ(result->received_bytes, proxy_.delta_bytes);
    ExpectPulled("two");
    std::filesystem::remove_all(folder_ / "out");
    proxy_.delta_bytes = 0;
  }
}

TEST_F(DeltaPullTest, OnlyADeltaMeansNoFileHoweverSmall) {
  PushTuned();
  folder_.Write("out/sub/model.safetensors", files_["tuned"]["sub/model.safetensors"]);
  PullOptions options = HoldingBase();
  const auto fetched = Pull("tuned", options);
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(fetched->received_bytes, 8u);
  EXPECT_EQ(fetched->file_count, 2u);
  EXPECT_EQ(proxy_.files_fetched, 1);
  EXPECT_TRUE(proxy_.delta_requests.empty());
  std::filesystem::remove(folder_ / "out/config.json");
  options.requires_delta = true;
  const auto applied = Pull("tuned", options);
  ASSERT_TRUE(applied.ok()) << applied.status();
  EXPECT_EQ(applied->applied_count, 1u);
  EXPECT_EQ(applied->unchanged_count, 1u);
  EXPECT_EQ(proxy_.files_fetched, 1);
  ExpectPulled("tuned");
}

TEST_F(DeltaPullTest, AHeldNameIsWhatAPullOfItFetches) {
  PushTuned();
  // Served only once it is READY.
  const TestFiles files = {{"config.json", "{\"new\": 1}"},
                           {"sub/model.safetensors", BuildSafetensors(base_)}};
  v1::StartUploadRequest start;
  start.set_name("base");
  start.set_new_version(true);
  start.add_parents()->set_model("base");
  start.mutable_fidelity()->mutable_near_lossless()->set_relative_error(0.1);
  const std::string upload = server_.Open(start, files);
  ASSERT_TRUE(server_.Write(TestServer::PiecesOf(upload, files)).ok());
  v1::FinishUploadResponse finished;
  ASSERT_TRUE(server_.Finish(upload, &finished).ok());
  PullOptions options = HoldingBase();
  options.requires_delta = true;
  const auto result = Pull("tuned", options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->applied_count, 2u);
  ExpectPulled("tuned");
}

TEST_F(DeltaPullTest, AStagedVersionIsNotHeld) {
  PushTuned();
  v1::StartUploadRequest start;
  start.set_name("base");
  start.set_new_version(true);
  const TestFiles files = {{"config.json", "{\"new\": 1}"}};
  const std::string upload = server_.Open(start, files);
  ASSERT_TRUE(server_.Write(TestServer::PiecesOf(upload, files)).ok());
  v1::FinishUploadResponse finished;
  ASSERT_TRUE(server_.Finish(upload, &finished).ok());
  folder_.Write("staged/config.json", files.at("config.json"));
  PullOptions options;
  options.held = {{"base", folder_ / "staged"}};
  const auto result = Pull("tuned", options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(ErrorReason(result->held_refusal), "NO_HELD_MODEL") << result->held_refusal;
  EXPECT_EQ(result->applied_count, 0u);
  EXPECT_EQ(result->file_count, 2u);
  ExpectPulled("tuned");
}

}  // namespace
}  // namespace wdelta::testing
