// What goes wrong with uploads, and what is left of it.
#include <array>
#include <atomic>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "server/http/commit_uploads.h"
#include "server/http/hub_models.h"
#include "storage/base/limits.h"
#include "tests/http/hub_upload_fixture.h"

namespace wdelta::testing {
namespace {

using nlohmann::json;
using ::testing::UnorderedElementsAre;

constexpr int kLeftUploads = 10;

class HubUploadFaultsTest : public HubUploadTest {};

// What is served stays served; everything that would write says why it does not.
TEST_F(HubUploadFaultsTest, AFullDiskTakesNoUploads) {
  Push("n/m", SmallCheckpoint(1));
  const std::string oid = Digest::Of("content").ToHex();
  EXPECT_EQ(StatusAndCode(PutObject(oid, 7, "content")), "200");
  files().SetFreeBytes(limits::kDefaultMinFreeBytes + 13);
  EXPECT_EQ(StatusAndCode(PutObject(oid, 7, "content")), "507 DISK_FULL");
  files().SetFreeBytes(limits::kDefaultMinFreeBytes - 1);
  EXPECT_EQ(StatusAndCode(Post("/n/m.git/info/lfs/objects/batch",
                               {{"objects", {{{"oid", std::string(64, '1')}, {"size", 7}}}}})),
            "507 DISK_FULL");
  EXPECT_EQ(StatusAndCode(Commit({Lfs("a.txt", "content")})), "507 DISK_FULL");
  EXPECT_EQ(StatusAndCode(Commit({Inline("a.txt", "other")})), "507 DISK_FULL");
  EXPECT_EQ(Content("config.json"), SmallCheckpoint(1).at("config.json"));
  EXPECT_EQ(IncomingFiles(), 1U);
  files().SetFreeBytes(std::nullopt);
  EXPECT_EQ(StatusAndCode(Commit({Lfs("a.txt", "content")})), "200");
}

// All of a commit or nothing, and nothing is said to be kept that is not on the disk.
TEST_F(HubUploadFaultsTest, ACommitThatCannotBeWrittenLeavesTheVersionBefore) {
  const Model before = Push("n/m", SmallCheckpoint(1));
  const std::string weights = SmallCheckpoint(2).at("model.safetensors");
  EXPECT_EQ(StatusAndCode(PutObject(Digest::Of(weights).ToHex(), weights.size(), weights)), "200");
  const std::vector<json> lines = {Lfs("model.safetensors", weights), Inline("a.txt", "a")};
  for (const FileOperation operation :
       {FileOperation::kOpenForAppend, FileOperation::kAppend, FileOperation::kSync}) {
    files().Fail(operation, InputOutputError);
    const httplib::Result refused = Commit(lines);
    files().Heal();
    EXPECT_GE(refused->status, 500) << StatusAndCode(refused);
    EXPECT_EQ(Newest().record.id(), before.record.id());
    EXPECT_TRUE(store().uploads().ListOpen("", 10)->items.empty());
  }
  // The content that was sent is there still.
  EXPECT_EQ(StatusAndCode(Commit(lines)), "200");
  EXPECT_TRUE(Content("model.safetensors") == weights);
  EXPECT_EQ(IncomingFiles(), 0U);
}

TEST_F(HubUploadFaultsTest, BadCommitsLeaveNothing) {
  EXPECT_EQ(StatusAndCode(Commit({Inline("model.safetensors", "no header")})),
            "400 BAD_SAFETENSORS");
  EXPECT_EQ(StatusAndCode(Commit({})), "409 NO_ENTRIES");
  EXPECT_EQ(StatusAndCode(Commit({Inline("../a", "a")})), "400 BAD_PATH");
  EXPECT_EQ(StatusAndCode(Commit({Inline("a", "1"), Inline("a/b", "2")})), "400 BAD_PATH");
  EXPECT_EQ(StatusAndCode(Commit({Inline("a", "1"), Remove("deletedFile", "b")})),
            "404 EntryNotFound");
  EXPECT_EQ(StatusAndCode(Commit({Inline("a", "1"), Remove("deletedFolder", "a")})),
            "404 EntryNotFound");
  EXPECT_EQ(StatusAndCode(NewClient()->Post("/api/models/n/m/commit/main", "{", kLines)),
            "400 BAD_BODY");
  EXPECT_EQ(StatusAndCode(NewClient()->Post("/api/models/n/m/commit/dev", "{}", kLines)),
            "404 RevisionNotFound");
  EXPECT_EQ(
      StatusAndCode(NewClient()->Post("/api/models/n/m/commit/main?create_pr=1", "{}", kLines)),
      "501 NO_PULL_REQUESTS");
  EXPECT_EQ(StatusAndCode(NewClient()->Post("/api/models/n..m/commit/main", "{}", kLines)),
            "400 BAD_NAME");
  EXPECT_EQ(StatusAndCode(Get("/api/models/n/m")), "404 RepoNotFound");
  EXPECT_TRUE(store().uploads().ListOpen("", 10)->items.empty());
}

TEST_F(HubUploadFaultsTest, AParentCommitMustBeTheNewest) {
  const Model first = Push("n/m", SmallCheckpoint(1));
  const std::string commit = CommitOf(first.record);
  EXPECT_EQ(StatusAndCode(Commit({Inline("a", "1")}, {{"parentCommit", std::string(40, '0')}})),
            "412 PARENT_COMMIT_MOVED");
  EXPECT_EQ(StatusAndCode(Commit({Inline("a", "1")}, {{"parentCommit", commit}})), "200");
  EXPECT_EQ(StatusAndCode(Commit({Inline("a", "2")}, {{"parentCommit", commit}})),
            "412 PARENT_COMMIT_MOVED");
}

// However long the commit takes to copy its files.
TEST_F(HubUploadFaultsTest, AParentCommitIsTheNewestUntilTheEnd) {
  // Not compressed, so that its files are copied.
  const std::string first = CommitOf(Stage("n/m", SmallCheckpoint(1)).record);
  ASSERT_EQ(StatusAndCode(PutObject(Digest::Of("1").ToHex(), 1, "1")), "200");
  bool is_first = true;
  std::string other;
  files().before_append = [&] {
    if (!std::exchange(is_first, false)) return;
    other = Stage("n/m", SmallCheckpoint(2)).record.id();
  };
  EXPECT_EQ(StatusAndCode(Commit({Lfs("a", "1")}, {{"parentCommit", first}})),
            "412 PARENT_COMMIT_MOVED");
  files().before_append = nullptr;
  EXPECT_EQ(Newest().record.id(), other);
  EXPECT_TRUE(store().uploads().ListOpen("", 10)->items.empty());
}

// One commit copies, the other waits for it.
TEST_F(HubUploadFaultsTest, ADrainEndsCommits) {
  const Model before = Stage("n/m", SmallCheckpoint(1));
  ASSERT_EQ(StatusAndCode(PutObject(Digest::Of("1").ToHex(), 1, "1")), "200");
  absl::Notification copies;
  std::array<absl::Notification, 2> cut;
  std::atomic<bool> is_first = true;
  files().before_append = [&] {
    if (!is_first.exchange(false)) return;
    copies.Notify();
    for (absl::Notification& one : cut) one.WaitForNotification();
  };
  std::vector<std::thread> clients;
  for (absl::Notification& one : cut) {
    clients.emplace_back([&] {
      const httplib::Result answer = Commit({Lfs("a", "1")});
      if (answer) {
        EXPECT_EQ(StatusAndCode(answer), "503 STOPPING");
      }
      one.Notify();
    });
  }
  copies.WaitForNotification();
  server().Drain(absl::ZeroDuration());
  for (std::thread& client : clients) client.join();
  files().before_append = nullptr;
  EXPECT_EQ(Newest().record.id(), before.record.id());
  EXPECT_TRUE(store().uploads().ListOpen("", 10)->items.empty());
}

// As a daemon leaves them that is killed.
TEST_F(HubUploadFaultsTest, AStartCancelsUploadsOfCommits) {
  const auto start = [this](const std::string& request_id) {
    StartUploadParams params;
    params.request_id = request_id;
    params.name = "n/m";
    params.new_version = true;
    const auto upload = store().uploads().Start(params);
    EXPECT_TRUE(upload.ok()) << upload.status();
    return upload.ok() ? upload->record.id() : "";
  };
  const std::string unnamed = start("");
  std::vector<std::string> left;
  for (int i = 0; i < kLeftUploads; ++i) left.push_back(start(NewCommitRequestId()));
  const std::string named = start("hub");
  StartServer(8);
  const auto open = store().uploads().ListOpen("", 1000);
  ASSERT_TRUE(open.ok()) << open.status();
  std::vector<std::string> ids;
  for (const UploadView& upload : open->items) ids.push_back(upload.record.id());
  EXPECT_THAT(ids, UnorderedElementsAre(unnamed, named));
  EXPECT_EQ(store().uploads().Get(left[0])->record.state(), store::v1::UploadRecord::CANCELLED);
}

}  // namespace
}  // namespace wdelta::testing
