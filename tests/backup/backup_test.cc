#include <filesystem>
#include <optional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/backup/restore.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "tests/backup/test_store.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class BackupTest : public ::testing::Test {
 protected:
  std::string DataDir() const { return folder_ / "data"; }
  std::string BackupDir() const { return folder_ / "backups"; }

  // A data folder of a backup, checked to be made.
  std::string Restore(uint32_t id, const std::string& name) {
    const std::string path = folder_ / name;
    const auto restored = RestoreBackup(*files_, BackupDir(), id, path, GoOn);
    EXPECT_TRUE(restored.ok()) << restored.status();
    return path;
  }

  absl::Status Verify() {
    return VerifyBackups(*files_, BackupDir(), GoOn,
                         [](uint32_t, const store::v1::BackupRecord&, const absl::Status&) {});
  }

  const TempFolder folder_;
  const std::unique_ptr<FileSystem> files_ = NewPosixFileSystem();
  const TestFiles base_ = SmallCheckpoint(1);
  const TestFiles tuned_ = SmallCheckpoint(1, 2);
};

TEST_F(BackupTest, RestoresModelsUploadsAndWhatIsUnfinished) {
  const TestFiles staged = SmallCheckpoint(1, 3);
  const TestFiles open = SmallCheckpoint(5);
  std::string upload;
  {
    TestStore store(DataDir());
    store.UploadReady("base", base_);
    store.UploadReady("tuned", tuned_, {"base"});
    store.Upload("staged", staged, {"base"});
    upload = store.Open("open", open, 0.5);
    const BackupReport report = store.BackupOk(BackupDir());
    EXPECT_EQ(report.id, 1u);
    EXPECT_EQ(report.model_count, 3u);
    EXPECT_EQ(report.staged_upload_count, 2u);
    EXPECT_EQ(report.problem_count, 0u) << report.first_problem;
    EXPECT_GE(report.new_bytes, report.total_bytes);
    EXPECT_TRUE(report.is_verified);
    EXPECT_FALSE(std::filesystem::exists(DataDir() + "/backup"));
  }
  std::filesystem::remove_all(DataDir());
  TestStore store(Restore(0, "restored"));
  EXPECT_EQ(store.Models().size(), 3u);
  EXPECT_TRUE(store.ReadBack("base") == base_);
  EXPECT_TRUE(store.ReadBack("tuned") == tuned_);
  EXPECT_TRUE(store.ReadBack("staged") == staged);
  store.RunJobs();
  EXPECT_TRUE(store.ReadBack("staged") == staged);
  {
    const auto writer = store.store().uploads().OpenWriter(upload);
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (const auto& [path, bytes] : open) {
      const absl::Status written =
          (*writer)->Write(path, bytes.size() / 2, bytes.substr(bytes.size() / 2));
      EXPECT_TRUE(written.ok()) << written;
    }
    EXPECT_TRUE((*writer)->Sync().ok());
  }
  store.Finish(upload);
  store.RunJobs();
  EXPECT_TRUE(store.ReadBack("open") == open);
}

TEST_F(BackupTest, CopiesOnlyWhatIsNewAndKeepsTheLast) {
  TestStore store(DataDir());
  store.UploadReady("base", base_);
  store.Upload("staged", SmallCheckpoint(7));
  const BackupReport first = store.BackupOk(BackupDir());
  const BackupReport same = store.BackupOk(BackupDir());
  EXPECT_EQ(same.id, 2u);
  EXPECT_EQ(same.total_bytes, first.total_bytes);
  EXPECT_LT(same.new_bytes, first.new_bytes / 20);
  store.UploadReady("tuned", tuned_, {"base"});
  const BackupReport third = store.BackupOk(BackupDir(), 2);
  EXPECT_THAT(third.kept_ids, ElementsAre(2, 3));
  EXPECT_LT(third.new_bytes, third.total_bytes);
  EXPECT_EQ(third.staged_upload_count, 0u);
  const absl::Status verified = Verify();
  EXPECT_TRUE(verified.ok()) << verified;

  const auto gone = RestoreBackup(*files_, BackupDir(), 1, folder_ / "one", GoOn);
  EXPECT_EQ(gone.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ErrorReason(gone.status()), "BACKUP_NOT_FOUND");
  EXPECT_THAT(std::string(gone.status().message()), HasSubstr("found 2, 2 to 3"));
  TestStore second(Restore(2, "two"));
  EXPECT_EQ(second.Models().size(), 2u);
  EXPECT_TRUE(second.ReadBack("staged") == SmallCheckpoint(7));

  // Of one that is kept nothing else stays.
  const BackupReport fourth = store.BackupOk(BackupDir(), 1);
  EXPECT_THAT(fourth.kept_ids, ElementsAre(4));
  EXPECT_TRUE(Verify().ok());
  for (const char* room : {"/records", "/staging", "/catalog/meta", "/blobs/meta"}) {
    EXPECT_EQ(files_->List(BackupDir() + room)->size(), 1u) << room;
  }
}

// Blobs and staged files that go right after the freezing are in the backup all the same.
TEST_F(BackupTest, WhatIsDeletedWhileItCopiesIsInIt) {
  TestStore store(DataDir());
  store.UploadReady("base", base_);
  store.UploadReady("tuned", tuned_, {"base"});
  store.Upload("staged", SmallCheckpoint(9));
  bool is_deleted = false;
  const auto report =
      store.Backup({BackupDir(), 0, true}, [&](const BackupProgress& progress) -> absl::Status {
        if (progress.phase != BackupPhase::kCatalog || is_deleted) return absl::OkStatus();
        is_deleted = true;
        for (const char* name : {"tuned", "base", "staged"}) store.Delete(name);
        store.RunJobs();
        store.StartGc();
        store.RunJobs();
        EXPECT_THAT(store.blobs().List("", 10)->blobs, IsEmpty());
        EXPECT_THAT(*files_->List(DataDir() + "/staging"), IsEmpty());
        return store.blobs().Reclaim();
      });
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_TRUE(is_deleted);
  EXPECT_EQ(report->model_count, 3u);
  TestStore restored(Restore(0, "restored"));
  EXPECT_TRUE(restored.ReadBack("base") == base_);
  EXPECT_TRUE(restored.ReadBack("tuned") == tuned_);
  EXPECT_TRUE(restored.ReadBack("staged") == SmallCheckpoint(9));
  EXPECT_THAT(store.Models(), IsEmpty());
}

TEST_F(BackupTest, AStoppedOneLeavesTheOthersAsTheyWere) {
  TestStore store(DataDir());
  store.UploadReady("base", base_);
  store.Upload("staged", SmallCheckpoint(9));
  store.BackupOk(BackupDir());
  store.UploadReady("tuned", tuned_, {"base"});
  for (const BackupPhase phase :
       {BackupPhase::kFreezing, BackupPhase::kCatalog, BackupPhase::kBlobs, BackupPhase::kUploads,
        BackupPhase::kVerifying}) {
    const auto stopped =
        store.Backup({BackupDir(), 1, true}, [&](const BackupProgress& progress) -> absl::Status {
          // While it reads, where a phase reads.
          const bool is_now = progress.phase == phase &&
                              (progress.read_bytes > 0 || phase == BackupPhase::kFreezing ||
                               phase == BackupPhase::kUploads);
          return is_now ? absl::CancelledError("enough") : absl::OkStatus();
        });
    EXPECT_EQ(stopped.status(), absl::CancelledError("enough")) << static_cast<int>(phase);
    EXPECT_FALSE(std::filesystem::exists(DataDir() + "/backup"));
    const absl::Status verified = Verify();
    EXPECT_TRUE(verified.ok()) << verified;
    EXPECT_EQ(files_->List(BackupDir() + "/staging")->size(), 1u);
    EXPECT_EQ(files_->List(BackupDir() + "/blobs/meta")->size(), 1u);
  }
  EXPECT_THAT(store.BackupOk(BackupDir()).kept_ids, ElementsAre(1, 2));
  EXPECT_TRUE(TestStore(Restore(1, "one")).ReadBack("base") == base_);
  EXPECT_TRUE(TestStore(Restore(2, "two")).ReadBack("tuned") == tuned_);
}

TEST_F(BackupTest, OneAtATime) {
  TestStore store(DataDir());
  std::optional<absl::Status> second;
  const auto first =
      store.Backup({BackupDir(), 0, true}, [&](const BackupProgress&) -> absl::Status {
        if (!second.has_value()) second = store.Backup({BackupDir(), 0, true}).status();
        return absl::OkStatus();
      });
  EXPECT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(second->code(), absl::StatusCode::kAborted);
  EXPECT_EQ(ErrorReason(*second), "BACKUP_RUNNING");
}

TEST_F(BackupTest, RefusesFoldersThatAreNotForIt) {
  TestStore store(DataDir());
  std::filesystem::create_directory_symlink(DataDir(), folder_ / "link");
  for (const std::string& bad :
       {std::string(), std::string("backups"), std::string("./b"), DataDir(),
        DataDir() + "/backups", DataDir() + "/x/../blobs", folder_ / "link/b", folder_.path(),
        std::string("/"), folder_ / "a\nb", std::string("/a\0b", 4),
        "/" + std::string(limits::kMaxPathBytes, 'x')}) {
    const absl::Status refused = store.Backup({bad, 0, true}).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_EQ(ErrorReason(refused), "BAD_BACKUP_DIR") << bad;
    EXPECT_THAT(std::string(refused.message()), HasSubstr("folder: expected ")) << bad;
  }
  folder_.Write("foreign/thesis.tex", "mine");
  const absl::Status foreign = store.Backup({folder_ / "foreign", 0, true}).status();
  EXPECT_EQ(foreign.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ErrorReason(foreign), "NOT_A_BACKUP_DIR");
  EXPECT_THAT(std::string(foreign.message()), HasSubstr("thesis.tex"));
  EXPECT_EQ(files_->List(folder_ / "foreign")->size(), 1u);

  TestStore other(folder_ / "other");
  other.BackupOk(BackupDir());
  const absl::Status of_other = store.Backup({BackupDir(), 0, true}).status();
  EXPECT_EQ(of_other.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ErrorReason(of_other), "OTHER_STORE");
}

TEST_F(BackupTest, ARestoredStoreGoesOnInTheSameFolder) {
  {
    TestStore store(DataDir());
    store.UploadReady("base", base_);
    store.BackupOk(BackupDir());
  }
  TestStore restored(Restore(0, "restored"));
  restored.UploadReady("tuned", tuned_, {"base"});
  const BackupReport second = restored.BackupOk(BackupDir());
  EXPECT_THAT(second.kept_ids, ElementsAre(1, 2));
  EXPECT_LT(second.new_bytes, second.total_bytes);
  EXPECT_TRUE(TestStore(Restore(2, "again")).ReadBack("tuned") == tuned_);
}

TEST_F(BackupTest, SaysWhatTheStoreHadLostBefore) {
  TestStore store(DataDir());
  store.UploadReady("base", base_);
  store.UploadReady("tuned", tuned_, {"base"});
  const Digest lost = store.blobs().List("", 1)->blobs.front().digest;
  ASSERT_TRUE(store.blobs().Delete(lost).ok());
  const BackupReport report = store.BackupOk(BackupDir());
  EXPECT_EQ(report.problem_count, 1u);
  EXPECT_THAT(report.first_problem, HasSubstr("expected blob " + lost.ToHex()));
  // The rest of it can be restored.
  EXPECT_EQ(TestStore(Restore(0, "restored")).Models().size(), 2u);
}

TEST_F(BackupTest, RestoresOnlyIntoAnEmptyFolder) {
  {
    TestStore store(DataDir());
    store.UploadReady("base", base_);
    store.BackupOk(BackupDir());
  }
  folder_.Write("foreign/thesis.tex", "mine");
  for (const std::string& target : {DataDir(), folder_ / "foreign", BackupDir()}) {
    const auto refused = RestoreBackup(*files_, BackupDir(), 0, target, GoOn);
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(ErrorReason(refused.status()), "DATA_DIR_NOT_EMPTY");
  }
  EXPECT_TRUE(TestStore(DataDir()).ReadBack("base") == base_);
  const auto nothing = RestoreBackup(*files_, folder_ / "foreign", 0, folder_ / "new", GoOn);
  EXPECT_EQ(ErrorReason(nothing.status()), "NOT_A_BACKUP_DIR");
  EXPECT_FALSE(folder_.Has("new"));
}

}  // namespace
}  // namespace wdelta::testing
