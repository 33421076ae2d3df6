// No damage of a backup goes unseen, and none of it becomes a data folder.
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/backup/backup_folder.h"
#include "storage/backup/restore.h"
#include "storage/base/error.h"
#include "storage/engine/disk/data_dir.h"
#include "tests/backup/test_store.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {
namespace {

using ::testing::HasSubstr;

class DamagedBackupTest : public ::testing::Test {
 protected:
  DamagedBackupTest() {
    TestStore store(folder_ / "data");
    store.UploadReady("base", SmallCheckpoint(1));
    store.Upload("staged", SmallCheckpoint(9));
    store.BackupOk(BackupDir());
    EXPECT_TRUE(Verify().ok());
  }

  std::string BackupDir() const { return folder_ / "backups"; }

  absl::Status Verify() {
    return VerifyBackups(*files_, BackupDir(), GoOn,
                         [](uint32_t, const store::v1::BackupRecord&, const absl::Status&) {});
  }

  // Names below the folder of backups of all files that a restore needs. RocksDB's `meta`
  // files, whose checksums are those of the others, are damaged only as a whole.
  std::vector<std::string> NeededFiles() const {
    std::vector<std::string> names;
    for (const auto& file : std::filesystem::recursive_directory_iterator(BackupDir())) {
      const std::string name = std::filesystem::relative(file.path(), BackupDir());
      const bool is_needed = file.is_regular_file() && file.file_size() > 0 &&
                             name != "WDELTA_BACKUP" && name.find("/meta/") == std::string::npos;
      if (is_needed) names.push_back("backups/" + name);
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  void ExpectSeen(const std::string& what) {
    const absl::Status verified = Verify();
    EXPECT_EQ(verified.code(), absl::StatusCode::kDataLoss) << what << ": " << verified;
    EXPECT_THAT(std::string(verified.message()), HasSubstr("backup")) << what;
    const std::string target = folder_ / "restored";
    const absl::Status restored = RestoreBackup(*files_, BackupDir(), 0, target, GoOn).status();
    EXPECT_EQ(restored.code(), absl::StatusCode::kDataLoss) << what << ": " << restored;
    EXPECT_FALSE(folder_.Has("restored/FORMAT")) << what;
    std::filesystem::remove_all(target);
  }

  // One bit of the byte in the middle.
  void Flip(const std::string& name) const {
    std::string bytes = folder_.Read(name);
    char& byte = bytes.at(bytes.size() / 2);
    byte = static_cast<char>(byte ^ 0x10);
    folder_.Write(name, bytes);
  }

  // Those of NeededFiles that several backups share.
  std::vector<std::string> SharedFiles() const {
    std::vector<std::string> names = NeededFiles();
    names.erase(std::remove_if(names.begin(), names.end(),
                               [](const std::string& name) {
                                 return name.find("/shared_checksum/") == std::string::npos;
                               }),
                names.end());
    return names;
  }

  const TempFolder folder_;
  const std::unique_ptr<FileSystem> files_ = NewPosixFileSystem();
};

// What is shared and damaged is copied again, so that the earlier backup is whole, too.
TEST_F(DamagedBackupTest, ADamagedSharedFileDoesNotStopTheNextBackup) {
  const std::vector<std::string> names = SharedFiles();
  ASSERT_GE(names.size(), 3u);
  TestStore store(folder_ / "data");
  uint32_t id = 1;
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    const std::string good = folder_.Read(name);
    Flip(name);
    EXPECT_FALSE(Verify().ok());
    EXPECT_EQ(store.BackupOk(BackupDir()).id, ++id);
    EXPECT_TRUE(Verify().ok()) << Verify();
    EXPECT_TRUE(folder_.Read(name) == good);
    folder_.Write(name, good.substr(0, good.size() / 2));
    EXPECT_FALSE(Verify().ok());
    EXPECT_EQ(store.BackupOk(BackupDir()).id, ++id);
    EXPECT_TRUE(Verify().ok()) << Verify();
    std::filesystem::remove(folder_ / name);
    EXPECT_FALSE(Verify().ok());
    EXPECT_EQ(store.BackupOk(BackupDir()).id, ++id);
    EXPECT_TRUE(Verify().ok()) << Verify();
  }
  for (const std::string& name : names) Flip(name);
  EXPECT_EQ(store.BackupOk(BackupDir()).id, ++id);
  EXPECT_TRUE(Verify().ok()) << Verify();
}

TEST_F(DamagedBackupTest, ADamagedCopyOfAnUploadDoesNotStopTheNextBackup) {
  TestStore store(folder_ / "data");
  std::string staged;
  for (const std::string& name : NeededFiles()) {
    if (name.find("backups/staging/") == 0 && name.find("FILES") == std::string::npos)
      staged = name;
  }
  ASSERT_NE(staged, "");
  Flip(staged);
  for (uint32_t id = 2; id <= 3; ++id) EXPECT_EQ(store.BackupOk(BackupDir()).id, id);
  EXPECT_THAT(std::string(Verify().message()), HasSubstr(staged)) << "the first stays damaged";
  EXPECT_TRUE(RestoreBackup(*files_, BackupDir(), 0, folder_ / "restored", GoOn).ok());
}

TEST_F(DamagedBackupTest, ADamagedRecordIsNamedWithWhatToDo) {
  TestStore store(folder_ / "data");
  Flip("backups/records/000001");
  const absl::Status status = store.Backup({BackupDir(), 0, true}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("backup 2 was made"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("records/000001"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("removed by hand"));
  std::filesystem::remove(folder_ / "backups/records/000001");
  EXPECT_EQ(store.BackupOk(BackupDir()).id, 3u);
  EXPECT_TRUE(Verify().ok()) << Verify();
}

TEST_F(DamagedBackupTest, AFailedRestoreNamesTheFileAndCanBeRepeated) {
  const std::string target = folder_ / "restored";
  for (const std::string& name : NeededFiles()) {
    // Without its record there is no backup at all.
    if (name.find("/records/") != std::string::npos) continue;
    const std::string good = folder_.Read(name);
    Flip(name);
    const absl::Status failed = RestoreBackup(*files_, BackupDir(), 0, target, GoOn).status();
    EXPECT_EQ(failed.code(), absl::StatusCode::kDataLoss) << name;
    EXPECT_THAT(std::string(failed.message()), HasSubstr(name.substr(name.rfind('/') + 1)));
    EXPECT_THAT(std::string(failed.message()), HasSubstr("backup 1: "));
    EXPECT_THAT(*files_->List(target), ::testing::ElementsAre("LOCK")) << name;
    folder_.Write(name, good);
  }
  const absl::Status stopped = RestoreBackup(*files_, BackupDir(), 0, target, [](uint64_t) {
                                 return absl::CancelledError("enough");
                               }).status();
  EXPECT_EQ(stopped, absl::CancelledError("backup 1: enough"));
  const auto restored = RestoreBackup(*files_, BackupDir(), 0, target, GoOn);
  EXPECT_TRUE(restored.ok()) << restored.status();
  EXPECT_TRUE(TestStore(target).ReadBack("base") == SmallCheckpoint(1));
}

TEST_F(DamagedBackupTest, ARestoreThatWasKilledCanBeRepeated) {
  const std::string target = folder_ / "restored";
  folder_.Write("restored/RESTORING", "");
  folder_.Write("restored/catalog/CURRENT", "half");
  folder_.Write("restored/blobs/000001.sst", "half");
  EXPECT_EQ(ErrorReason(DataDir::Open(target).status()), "NOT_A_DATA_DIR");
  const auto restored = RestoreBackup(*files_, BackupDir(), 0, target, GoOn);
  EXPECT_TRUE(restored.ok()) << restored.status();
  EXPECT_FALSE(folder_.Has("restored/RESTORING"));
  EXPECT_TRUE(TestStore(target).ReadBack("base") == SmallCheckpoint(1));
  for (const char* const left : {"RESTORING.tmp", "FORMAT.tmp"}) {
    const std::string other = folder_ / (std::string("left-") + left);
    folder_.Write(std::string("left-") + left + "/" + left, "ha");
    folder_.Write(std::string("left-") + left + "/RESTORING", "a restore fills this folder\n");
    if (std::string(left) == "RESTORING.tmp") std::filesystem::remove(other + "/RESTORING");
    EXPECT_TRUE(RestoreBackup(*files_, BackupDir(), 0, other, GoOn).ok()) << left;
    EXPECT_TRUE(TestStore(other).ReadBack("base") == SmallCheckpoint(1));
  }
  // A data folder is never taken for one, whatever lies in it.
  folder_.Write("restored/RESTORING", "");
  const absl::Status full = RestoreBackup(*files_, BackupDir(), 0, target, GoOn).status();
  EXPECT_EQ(ErrorReason(full), "DATA_DIR_NOT_EMPTY");
  EXPECT_TRUE(TestStore(target).ReadBack("base") == SmallCheckpoint(1));
}

TEST_F(DamagedBackupTest, TwoRestoresAtOnceDoNotMeet) {
  const std::string target = folder_ / "restored";
  absl::Status second;
  const auto restore_too = [&](uint64_t) {
    if (second.ok()) second = RestoreBackup(*files_, BackupDir(), 0, target, GoOn).status();
    return absl::OkStatus();
  };
  const auto first = RestoreBackup(*files_, BackupDir(), 0, target, restore_too);
  EXPECT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(ErrorReason(second), "DATA_DIR_IN_USE") << second;
  EXPECT_TRUE(TestStore(target).ReadBack("base") == SmallCheckpoint(1));
}

TEST_F(DamagedBackupTest, EveryFlippedByteAndEveryLostFileIsSeen) {
  const std::vector<std::string> names = NeededFiles();
  ASSERT_GE(names.size(), 8u);
  for (const std::string& name : names) {
    const std::string good = folder_.Read(name);
    std::string bad = good;
    bad[bad.size() / 2] = static_cast<char>(bad[bad.size() / 2] ^ 0x10);
    folder_.Write(name, bad);
    ExpectSeen("flipped " + name);
    folder_.Write(name, good.substr(0, good.size() - 1));
    ExpectSeen("cut " + name);
    folder_.Write(name, good);
  }
  EXPECT_TRUE(Verify().ok());
  for (const std::string& name : names) {
    // Without its record there is no backup at all.
    if (name.find("/records/") != std::string::npos) continue;
    const std::string good = folder_.Read(name);
    std::filesystem::remove(folder_ / name);
    ExpectSeen("lost " + name);
    folder_.Write(name, good);
  }
  for (const char* meta : {"backups/catalog/meta/1", "backups/blobs/meta/1"}) {
    const std::string good = folder_.Read(meta);
    std::filesystem::remove(folder_ / meta);
    ExpectSeen(std::string("lost ") + meta);
    folder_.Write(meta, good);
  }
  EXPECT_TRUE(Verify().ok());
}

TEST_F(DamagedBackupTest, AFolderWithoutBackupsSaysSo) {
  std::filesystem::remove_all(BackupDir() + "/records");
  EXPECT_EQ(ErrorReason(Verify()), "NO_BACKUPS");
  EXPECT_EQ(Verify().code(), absl::StatusCode::kFailedPrecondition);
  std::filesystem::remove(BackupDir() + "/WDELTA_BACKUP");
  EXPECT_EQ(ErrorReason(Verify()), "NOT_A_BACKUP_DIR");
  folder_.Write("backups/WDELTA_BACKUP", "wdelta-backup 2\nstore x\n");
  EXPECT_EQ(ErrorReason(Verify()), "NOT_A_BACKUP_DIR");
}

TEST_F(DamagedBackupTest, ABackupOfANewerFormatIsRefused) {
  const std::string bytes = folder_.Read("backups/records/000001");
  store::v1::BackupRecord record;
  ASSERT_TRUE(record.ParseFromString(bytes.substr(0, bytes.size() - 4)));
  record.set_data_format(kDataFormat + 1);
  ASSERT_TRUE(WriteRecordFile(*files_, BackupDir() + "/records", "000001", record).ok());
  const absl::Status refused =
      RestoreBackup(*files_, BackupDir(), 0, folder_ / "restored", GoOn).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ErrorReason(refused), "DATA_FORMAT_NEWER");
  EXPECT_FALSE(folder_.Has("restored"));
}

}  // namespace
}  // namespace wdelta::testing
