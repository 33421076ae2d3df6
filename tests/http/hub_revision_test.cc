// Commits that change no tensors.
#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "server/http/hub_models.h"
#include "server/http/hub_upload.h"
#include "tests/http/hub_upload_fixture.h"

namespace wdelta::testing {
namespace {

using store::v1::ModelRecord;
using ::testing::ElementsAre;
using ::testing::Gt;
using ::testing::Lt;

constexpr char kWeights[] = "model.safetensors";

class HubRevisionTest : public HubUploadTest {
 protected:
  uint64_t BlobBytes() {
    uint64_t bytes = 0;
    const auto page = blobs().List("", 100'000);
    EXPECT_TRUE(page.ok() && !page->more);
    for (const BlobInfo& blob : page->blobs) bytes += blob.size_bytes;
    return bytes;
  }
  bool HasUploads() {
    const auto page = catalog().Scan({"upload/", PrefixEnd("upload/"), 1'000, false});
    EXPECT_TRUE(page.ok());
    return page->records.size() > pushed_;
  }
  const TestFiles files_ = SmallCheckpoint(1);
  size_t pushed_ = 1;  // uploads that were no commits
};

TEST_F(HubRevisionTest, ANewCardStagesAndCompressesNothing) {
  const Model first = Push("n/m", files_);
  const uint64_t bytes_before = BlobBytes();
  const httplib::Result commit = Commit({Inline("README.md", "# card\n")});
  ASSERT_EQ(StatusAndCode(commit), "200");
  // At once, without a job.
  const Model newest = Newest();
  EXPECT_NE(newest.record.id(), first.record.id());
  EXPECT_EQ(newest.record.state(), ModelRecord::READY);
  EXPECT_EQ(nlohmann::json::parse(commit->body)["commitOid"], CommitOf(newest.record));
  EXPECT_FALSE(HasUploads());
  EXPECT_THAT(BlobBytes() - bytes_before, Lt(files_.at(kWeights).size() / 10));
  EXPECT_THAT(first.record.stored_bytes(), Gt(files_.at(kWeights).size() / 10));
  EXPECT_EQ(IncomingFiles(), 0U);
  EXPECT_THAT(Paths(), ElementsAre("README.md", "config.json", kWeights));
  EXPECT_TRUE(Content(kWeights) == files_.at(kWeights));
  EXPECT_EQ(Content("README.md"), "# card\n");
  EXPECT_EQ(Content("config.json"), files_.at("config.json"));
  ASSERT_EQ(newest.record.parents_size(), 1);
  EXPECT_EQ(newest.record.parents(0).model_id(), first.record.id());
  EXPECT_EQ(newest.record.parents(0).relation(), store::v1::ParentEdge::CONTINUED_TRAINING);
  EXPECT_EQ(newest.record.metadata().at("commit_summary"), "test");
}

TEST_F(HubRevisionTest, CommitsFollowEachOther) {
  Push("n/m", files_);
  for (int i = 0; i < 3; ++i) {
    const std::string card = absl::StrCat("# ", i, "\n");
    ASSERT_EQ(StatusAndCode(Commit({Inline("README.md", card)},
                                   {{"parentCommit", CommitOf(Newest().record)}})),
              "200");
    EXPECT_EQ(Content("README.md"), card);
  }
  ASSERT_EQ(StatusAndCode(
                Commit({Remove("deletedFile", "README.md"), Inline("config.json", "{\"a\": 2}")})),
            "200");
  EXPECT_THAT(Paths(), ElementsAre("config.json", kWeights));
  EXPECT_TRUE(Content(kWeights) == files_.at(kWeights));
  EXPECT_FALSE(HasUploads());
}

TEST_F(HubRevisionTest, TheOldVersionMayGo) {
  const Model first = Push("n/m", files_);
  ASSERT_EQ(StatusAndCode(Commit({Inline("README.md", "# card\n")})), "200");
  ASSERT_TRUE(store().models().Delete("id:" + first.record.id()).ok());
  ASSERT_TRUE(store().maintenance().StartGc().ok());
  RunJobs();
  EXPECT_TRUE(Content(kWeights) == files_.at(kWeights));
  EXPECT_EQ(Content("README.md"), "# card\n");
}

// What is not compressed yet is copied, as are new tensors.
TEST_F(HubRevisionTest, AVersionThatIsNotCompressedIsCopied) {
  Stage("n/m", files_);
  ASSERT_EQ(StatusAndCode(Commit({Inline("README.md", "# card\n")})), "200");
  EXPECT_EQ(Newest().record.state(), ModelRecord::STAGED);
  EXPECT_TRUE(HasUploads());
  RunJobs();
  EXPECT_TRUE(Content(kWeights) == files_.at(kWeights));
  EXPECT_EQ(Content("README.md"), "# card\n");
}

TEST_F(HubRevisionTest, TheCardStillNamesTheParents) {
  const Model base = Push("base", SmallCheckpoint(1));
  Push("n/m", SmallCheckpoint(1, 7));
  ASSERT_EQ(StatusAndCode(Commit({Inline("README.md", "---\nbase_model: base\n---\n")})), "200");
  ASSERT_EQ(Newest().record.state(), ModelRecord::READY);
  ASSERT_EQ(Newest().record.parents_size(), 1);
  EXPECT_EQ(Newest().record.parents(0).model_id(), base.record.id());
  EXPECT_TRUE(Content(kWeights) == SmallCheckpoint(1, 7).at(kWeights));
}

TEST_F(HubRevisionTest, AParentCommitIsTheNewestUntilTheEnd) {
  const std::string first = CommitOf(Push("n/m", files_).record);
  bool is_first = true;
  std::string other;
  blobs().before_get = [&] {
    if (!std::exchange(is_first, false)) return;
    other = Stage("n/m", SmallCheckpoint(2)).record.id();
  };
  EXPECT_EQ(StatusAndCode(Commit({Inline("README.md", "# card\n")}, {{"parentCommit", first}})),
            "412 PARENT_COMMIT_MOVED");
  blobs().before_get = nullptr;
  EXPECT_EQ(Newest().record.id(), other);
}

// One commit reads what is stored, the other waits for it.
TEST_F(HubRevisionTest, ADrainEndsCommits) {
  const Model before = Push("n/m", files_);
  absl::Notification reads;
  std::array<absl::Notification, 2> cut;
  std::atomic<bool> is_first = true;
  blobs().before_get = [&] {
    if (!is_first.exchange(false)) return;
    reads.Notify();
    for (absl::Notification& one : cut) one.WaitForNotification();
  };
  std::vector<std::thread> clients;
  for (absl::Notification& one : cut) {
    clients.emplace_back([&] {
      const httplib::Result answer = Commit({Inline("README.md", "# card\n")});
      if (answer) {
        EXPECT_EQ(StatusAndCode(answer), "503 STOPPING");
      }
      one.Notify();
    });
  }
  reads.WaitForNotification();
  server().Drain(absl::ZeroDuration());
  for (std::thread& client : clients) client.join();
  blobs().before_get = nullptr;
  EXPECT_EQ(Newest().record.id(), before.record.id());
}

TEST_F(HubRevisionTest, ABadIndexIsRefused) {
  const Model first = Push("n/m", files_);
  const httplib::Result refused =
      Commit({Inline("model.safetensors.index.json", R"({"weight_map": {"none": "none"}})")});
  EXPECT_EQ(StatusAndCode(refused), "400 BAD_INDEX");
  EXPECT_EQ(Newest().record.id(), first.record.id());
}

}  // namespace
}  // namespace wdelta::testing
