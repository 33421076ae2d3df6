// The upload protocol, call by call, as clients of the Hub make them.
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "server/http/hub_models.h"
#include "server/http/hub_upload.h"
#include "tests/http/hub_upload_fixture.h"

namespace wdelta::testing {
namespace {

using nlohmann::json;
using store::v1::ModelRecord;
using ::testing::ElementsAre;

TEST_F(HubUploadTest, AFirstCommitMakesTheRepository) {
  const TestFiles files = SmallCheckpoint(1);
  const std::string& weights = files.at("model.safetensors");
  const httplib::Result created =
      Post("/api/repos/create", {{"name", "m"}, {"organization", "n"}, {"type", "model"}});
  ASSERT_EQ(StatusAndCode(created), "200");
  EXPECT_EQ(json::parse(created->body)["url"], absl::StrCat("http://127.0.0.1:", port(), "/n/m"));

  const httplib::Result modes =
      Post("/api/models/n/m/preupload/main",
           {{"files",
             {{{"path", "model.safetensors"}, {"sample", ""}, {"size", weights.size()}},
              {{"path", "config.json"}, {"sample", ""}, {"size", 3}},
              {{"path", "big.txt"}, {"sample", ""}, {"size", 1 << 20}}}}});
  ASSERT_EQ(StatusAndCode(modes), "200");
  const json answered = json::parse(modes->body)["files"];
  EXPECT_EQ(answered[0]["uploadMode"], "lfs");
  EXPECT_EQ(answered[1]["uploadMode"], "regular");
  EXPECT_EQ(answered[2]["uploadMode"], "lfs");

  const std::string oid = Digest::Of(weights).ToHex();
  const json wanted = {{"operation", "upload"},
                       {"objects", {{{"oid", oid}, {"size", weights.size()}}}}};
  const httplib::Result batch = Post("/n/m.git/info/lfs/objects/batch", wanted);
  ASSERT_EQ(StatusAndCode(batch), "200");
  const json object = json::parse(batch->body)["objects"][0];
  const std::string base = absl::StrCat("http://127.0.0.1:", port());
  const std::string href = object["actions"]["upload"]["href"];
  ASSERT_EQ(href.substr(0, base.size()), base);
  EXPECT_EQ(StatusAndCode(NewClient()->Put(href.substr(base.size()), weights, "a/b")), "200");
  EXPECT_EQ(
      StatusAndCode(Post("/n/m.git/info/lfs/verify", {{"oid", oid}, {"size", weights.size()}})),
      "200");
  // What is here need not be sent.
  const httplib::Result again = Post("/n/m.git/info/lfs/objects/batch", wanted);
  EXPECT_FALSE(json::parse(again->body)["objects"][0].contains("actions"));

  const httplib::Result commit =
      Commit({Lfs("model.safetensors", weights), Inline("config.json", "{}\n")});
  ASSERT_EQ(StatusAndCode(commit), "200");
  EXPECT_EQ(json::parse(commit->body)["commitOid"], CommitOf(Newest().record));
  EXPECT_TRUE(Content("model.safetensors") == weights);
  EXPECT_EQ(Content("config.json"), "{}\n");
  EXPECT_EQ(Newest().record.metadata().at("commit_summary"), "test");
  EXPECT_EQ(IncomingFiles(), 0U);
  RunJobs();
  EXPECT_TRUE(Content("model.safetensors") == weights);
  // Nor what the version before has.
  const httplib::Result known = Post("/api/models/n/m/preupload/main",
                                     {{"files",
                                       {{{"path", "model.safetensors"}, {"size", weights.size()}},
                                        {{"path", "config.json"}, {"size", 3}}}}});
  EXPECT_EQ(json::parse(known->body)["files"][0]["oid"], oid);
  EXPECT_EQ(json::parse(known->body)["files"][1]["oid"], nullptr);
  EXPECT_EQ(StatusAndCode(Post("/api/repos/create", {{"name", "m"}, {"organization", "n"}})),
            "409");
}

TEST_F(HubUploadTest, FurtherCommitsKeepWhatTheyDoNotTouch) {
  const TestFiles files = SmallCheckpoint(1);
  const Model first = Push("n/m", files);
  ASSERT_EQ(
      StatusAndCode(Commit({Inline("a/b.txt", "b"), Inline("a/c.txt", "c"), Inline("d.txt", "d")})),
      "200");
  EXPECT_THAT(Paths(),
              ElementsAre("a/b.txt", "a/c.txt", "config.json", "d.txt", "model.safetensors"));
  EXPECT_TRUE(Content("model.safetensors") == files.at("model.safetensors"));
  ASSERT_EQ(Newest().record.parents_size(), 1);
  EXPECT_EQ(Newest().record.parents(0).model_id(), first.record.id());
  EXPECT_EQ(Newest().record.parents(0).relation(), store::v1::ParentEdge::CONTINUED_TRAINING);
  RunJobs();
  ASSERT_EQ(StatusAndCode(Commit({Remove("deletedFolder", "a/"), Remove("deletedFile", "d.txt"),
                                  Inline("config.json", "{\"x\": 1}\n")})),
            "200");
  EXPECT_THAT(Paths(), ElementsAre("config.json", "model.safetensors"));
  EXPECT_EQ(Content("config.json"), "{\"x\": 1}\n");
  // Content of the version before under another path, without sending it.
  json copy = Lfs("copy.safetensors", files.at("model.safetensors"));
  copy["value"].erase("size");
  ASSERT_EQ(StatusAndCode(Commit({copy})), "200");
  EXPECT_TRUE(Content("copy.safetensors") == files.at("model.safetensors"));
}

TEST_F(HubUploadTest, ACommitThatChangesNothingIsTheVersionBefore) {
  const Model first = Push("n/m", SmallCheckpoint(1));
  const httplib::Result commit =
      Commit({Inline("config.json", SmallCheckpoint(1).at("config.json"))});
  ASSERT_EQ(StatusAndCode(commit), "200");
  EXPECT_EQ(Newest().record.id(), first.record.id());
  EXPECT_EQ(json::parse(commit->body)["commitOid"], CommitOf(first.record));
}

TEST_F(HubUploadTest, TheCardNamesTheParents) {
  const Model base = Push("base", SmallCheckpoint(1));
  const Model other = Push("ns/other", SmallCheckpoint(2));
  const TestFiles tuned = SmallCheckpoint(1, 7);
  const std::string& weights = tuned.at("model.safetensors");
  ASSERT_EQ(StatusAndCode(PutObject(Digest::Of(weights).ToHex(), weights.size(), weights)), "200");
  ASSERT_EQ(StatusAndCode(Commit({Lfs("model.safetensors", weights),
                                  Inline("README.md", "---\nbase_model: base\n---\n")})),
            "200");
  ASSERT_EQ(Newest().record.parents_size(), 1);
  EXPECT_EQ(Newest().record.parents(0).model_id(), base.record.id());
  EXPECT_EQ(Newest().record.parents(0).relation(), store::v1::ParentEdge::FINE_TUNE);
  RunJobs();
  EXPECT_EQ(Newest().record.storage_parent_id(), base.record.id());
  ASSERT_EQ(StatusAndCode(Commit({Inline(
                "README.md", "---\nbase_model: [elsewhere/x, base, ns/other, base]\n---\n")})),
            "200");
  ASSERT_EQ(Newest().record.parents_size(), 2);
  EXPECT_EQ(Newest().record.parents(1).model_id(), other.record.id());
  EXPECT_EQ(Newest().record.parents(0).relation(), store::v1::ParentEdge::MERGE);
}

// Set by whoever keeps the store; later versions have them too.
TEST_F(HubUploadTest, SettingsOfAVersionGoOver) {
  const Model base = Push("base", SmallCheckpoint(1));
  Push("n/m", SmallCheckpoint(1, 7));
  ASSERT_TRUE(store()
                  .models()
                  .Update("n/m", StringMap{{"team", "a"}},
                          StringMap{{kBaseModelKey, "elsewhere/x, base"}, {"note", "b"}}, 0)
                  .ok());
  for (const char* const text : {"1", "2"}) {
    ASSERT_EQ(StatusAndCode(Commit({Inline("a.txt", text)})), "200");
    const ModelRecord newest = Newest().record;
    ASSERT_EQ(newest.parents_size(), 1);
    EXPECT_EQ(newest.parents(0).model_id(), base.record.id());
    EXPECT_EQ(newest.labels().at("team"), "a");
    EXPECT_FALSE(newest.metadata().contains("note"));
  }
}

TEST_F(HubUploadTest, ACutPutLeavesNothingAndCanBeRepeated) {
  const std::string weights = SmallCheckpoint(1).at("model.safetensors");
  const std::string oid = Digest::Of(weights).ToHex();
  const std::string answer =
      Raw(absl::StrCat("PUT /n/m.git/info/lfs/objects/", oid, "?size=", weights.size(),
                       " HTTP/1.1\r\nHost: h\r\nContent-Length: ", weights.size(), "\r\n\r\n",
                       weights.substr(0, weights.size() / 2)));
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << answer;
  EXPECT_EQ(IncomingFiles(), 0U);
  EXPECT_EQ(StatusAndCode(PutObject(oid, weights.size(), weights)), "200");
  EXPECT_EQ(StatusAndCode(PutObject(oid, weights.size(), weights)), "200");
  EXPECT_EQ(IncomingFiles(), 1U);
  EXPECT_EQ(StatusAndCode(Commit({Lfs("model.safetensors", weights)})), "200");
  EXPECT_TRUE(Content("model.safetensors") == weights);
}

TEST_F(HubUploadTest, APutInChunksIsTaken) {
  const std::string weights = SmallCheckpoint(1).at("model.safetensors");
  const std::string target = absl::StrCat("/n/m.git/info/lfs/objects/", Digest::Of(weights).ToHex(),
                                          "?size=", weights.size());
  size_t sent = 0;
  const auto provide = [&](size_t, httplib::DataSink& sink) {
    const size_t size = std::min<size_t>(weights.size() - sent, 1000);
    sink.write(weights.data() + sent, size);
    sent += size;
    if (sent == weights.size()) sink.done();
    return true;
  };
  const auto put = NewClient()->Put(target, provide, "a/b");
  EXPECT_EQ(StatusAndCode(put), "200");
  EXPECT_EQ(put->get_header_value("Connection"), "close");
  EXPECT_EQ(StatusAndCode(Commit({Lfs("model.safetensors", weights)})), "200");
}

TEST_F(HubUploadTest, NoRepositoryCountsOnWhatWasSentToAnother) {
  const std::string oid = Digest::Of("content").ToHex();
  const auto put = [&](const std::string& repo) {
    return NewClient()->Put(absl::StrCat("/", repo, ".git/info/lfs/objects/", oid, "?size=7"),
                            "content", "a/b");
  };
  EXPECT_EQ(StatusAndCode(put("other")), "200");
  EXPECT_EQ(StatusAndCode(Commit({Lfs("a.txt", "content")})), "400 OBJECT_NOT_SENT");
  EXPECT_EQ(StatusAndCode(put("n/m")), "200");
  EXPECT_EQ(IncomingFiles(), 2U);
  EXPECT_EQ(StatusAndCode(Commit({Lfs("a.txt", "content")})), "200");
  EXPECT_EQ(IncomingFiles(), 1U);
}

// A version whose bytes never settled is not what a commit changes.
TEST_F(HubUploadTest, CommitsChangeTheNewestVersionThatIsServed) {
  store::v1::FidelityPolicy policy;
  policy.mutable_all()->set_strategy(store::v1::NEAR_LOSSLESS);
  policy.mutable_all()->set_relative_error(0.1);
  Push("base", SmallCheckpoint(1));
  Push("n/m", SmallCheckpoint(1));
  const Model lossy = Stage("n/m", SmallCheckpoint(1, 7), policy, "base");
  ASSERT_TRUE(store().jobs().RequestCancel(lossy.record.job_id()).ok());
  ASSERT_EQ(StatusAndCode(Commit({Inline("a.txt", "a")})), "200");
  EXPECT_TRUE(Content("model.safetensors") == SmallCheckpoint(1).at("model.safetensors"));
  EXPECT_THAT(Paths(), ElementsAre("a.txt", "config.json", "model.safetensors"));
}

TEST_F(HubUploadTest, OnlyTheContentThatWasAnnouncedIsKept) {
  const std::string oid = Digest::Of("content").ToHex();
  EXPECT_EQ(StatusAndCode(PutObject(oid, 7, "CONTENT")), "400 DIGEST_MISMATCH");
  EXPECT_EQ(StatusAndCode(PutObject(oid, 7, "conten")), "400 WRONG_SIZE");
  EXPECT_EQ(StatusAndCode(PutObject(oid, 6, "content")), "400 WRONG_SIZE");
  EXPECT_EQ(StatusAndCode(PutObject(oid, uint64_t{1} << 60, "content")), "413 FILE_TOO_LARGE");
  EXPECT_EQ(StatusAndCode(NewClient()->Put("/n/m.git/info/lfs/objects/abc?size=1", "a", "a/b")),
            "400 BAD_DIGEST");
  EXPECT_EQ(StatusAndCode(Post("/n/m.git/info/lfs/objects/batch", {{"objects", {1}}})),
            "400 BAD_BODY");
  EXPECT_EQ(StatusAndCode(Post("/n/m.git/info/lfs/objects/batch",
                               {{"objects", {{{"oid", oid}, {"size", uint64_t{1} << 63}}}}})),
            "413 FILE_TOO_LARGE");
  EXPECT_EQ(StatusAndCode(NewClient()->Put("/n/m.git/info/lfs/objects/" + oid, "content", "a/b")),
            "400 BAD_TARGET");
  EXPECT_EQ(IncomingFiles(), 0U);
  EXPECT_EQ(StatusAndCode(Post("/n/m.git/info/lfs/verify", {{"oid", oid}, {"size", 7}})),
            "404 EntryNotFound");
  EXPECT_EQ(StatusAndCode(Commit({Lfs("a.txt", "content")})), "400 OBJECT_NOT_SENT");
  EXPECT_EQ(StatusAndCode(PutObject(oid, 7, "content")), "200");
  EXPECT_EQ(IncomingFiles(), 1U);
  json wrong_size = Lfs("a.txt", "content");
  wrong_size["value"]["size"] = 8;
  EXPECT_EQ(StatusAndCode(Commit({wrong_size})), "400 WRONG_SIZE");
  EXPECT_EQ(StatusAndCode(Commit({Lfs("a.txt", "content")})), "200");
  EXPECT_EQ(IncomingFiles(), 0U);
}

TEST_F(HubUploadTest, CommitsAtOnceTakeTurns) {
  std::vector<std::thread> clients;
  for (int i = 0; i < 6; ++i) {
    clients.emplace_back([this, i] {
      EXPECT_EQ(StatusAndCode(Commit({Inline(absl::StrCat("f", i), absl::StrCat(i))})), "200");
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_THAT(Paths(), ElementsAre("f0", "f1", "f2", "f3", "f4", "f5"));
}

}  // namespace
}  // namespace wdelta::testing
