// The restore drill: backups of a live daemon, the data folder lost, everything back.
#include <signal.h>

#include <filesystem>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/daemon.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Json = nlohmann::json;

class BackupDrillTest : public ::testing::Test {
 protected:
  std::string DataDir() const { return folder_ / "data"; }
  std::string BackupDir() const { return folder_ / "backups"; }

  void Push(const Daemon& daemon, const std::string& name, const TestFiles& files,
            std::vector<std::string> more = {}) const {
    for (const auto& [path, bytes] : files) folder_.Write(name + "/" + path, bytes);
    more.insert(more.begin(), {"push", folder_ / name, "--name", name});
    daemon.WdeltaOk(more);
  }

  void ExpectPulledEqual(const Daemon& daemon, const std::string& model, const TestFiles& files) {
    const std::string target = "pulled" + std::to_string(++pulls_);
    daemon.WdeltaOk({"pull", model, folder_ / target});
    for (const auto& [path, bytes] : files) {
      EXPECT_TRUE(folder_.Read(target + "/" + path) == bytes) << model << "/" << path;
    }
  }

  // A daemon's end that leaves nothing but the backups.
  void Destroy(Daemon& daemon) const {
    daemon.process().Signal(SIGKILL);
    daemon.process().Wait();
    std::filesystem::remove_all(DataDir());
  }

  Json Backup(const Daemon& daemon, std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"admin", "backup", BackupDir(), "--output", "json"});
    return Json::parse(daemon.WdeltaOk(more));
  }

  CommandResult Restore(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> flags = {"--restore_from=" + BackupDir()};
    flags.insert(flags.end(), more.begin(), more.end());
    return RunDaemon(DataDir(), flags);
  }

  const TempFolder folder_;
  const TestFiles base_ = SmallCheckpoint(1);
  const TestFiles tuned_ = SmallCheckpoint(1, 2);
  const TestFiles later_ = SmallCheckpoint(1, 3);
  int pulls_ = 0;
};

TEST_F(BackupDrillTest, EitherBackupBringsEverythingBack) {
  {
    Daemon daemon(DataDir());
    Push(daemon, "base", base_, {"--wait"});
    Push(daemon, "tuned", tuned_, {"--parent", "base", "--wait"});
    daemon.WdeltaOk({"tag", "tuned@prod", "tuned"});
    const Json first = Backup(daemon);
    EXPECT_EQ(first["backup_id"], 1);
    EXPECT_EQ(first["model_count"], 2);
    EXPECT_EQ(first["verified"], true);
    EXPECT_EQ(first["problem_count"], 0);

    Push(daemon, "later", later_, {"--parent", "base", "--wait"});
    daemon.WdeltaOk({"rm", "tuned"});
    daemon.WdeltaOk({"gc", "--wait"});
    // Its job may be at any point.
    Push(daemon, "last", tuned_, {"--parent", "base"});
    const Json second = Backup(daemon);
    EXPECT_EQ(second["backup_id"], 2);
    EXPECT_EQ(second["model_count"], 3);
    EXPECT_EQ(second["kept_backup_ids"], Json({1, 2}));
    EXPECT_LT(second["new_bytes"], second["total_bytes"]);
    Destroy(daemon);
  }
  const CommandResult verified = RunDaemon(DataDir(), {"--verify_backup=" + BackupDir()});
  EXPECT_EQ(verified.exit_code, 0) << verified.err;
  EXPECT_THAT(verified.out, AllOf(HasSubstr("backup 1 "), HasSubstr("backup 2 "),
                                  HasSubstr("3 models"), Not(HasSubstr("DAMAGED"))));
  EXPECT_FALSE(folder_.Has("data"));

  const CommandResult newest = Restore();
  EXPECT_EQ(newest.exit_code, 0) << newest.err;
  EXPECT_THAT(newest.out, StartsWith("backup 2 "));
  {
    Daemon daemon(DataDir());
    ExpectPulledEqual(daemon, "base", base_);
    ExpectPulledEqual(daemon, "later", later_);
    ExpectPulledEqual(daemon, "last", tuned_);
    EXPECT_EQ(daemon.Wdelta({"show", "tuned"}).exit_code, 3);
    EXPECT_THAT(daemon.WdeltaOk({"scrub"}), HasSubstr("0 damaged"));
    daemon.WdeltaOk({"gc", "--wait"});
    ExpectPulledEqual(daemon, "last", tuned_);
    // It goes on where the lost one ended.
    EXPECT_EQ(Backup(daemon, {"--keep", "2"})["kept_backup_ids"], Json({2, 3}));
    Destroy(daemon);
  }
  const CommandResult gone = Restore({"--backup_id=1"});
  EXPECT_EQ(gone.exit_code, 1);
  EXPECT_THAT(gone.err, HasSubstr("expected backup 1, found 2, 2 to 3"));
  const CommandResult third = Restore({"--backup_id=3"});
  EXPECT_EQ(third.exit_code, 0) << third.err;
  Daemon daemon(DataDir());
  ExpectPulledEqual(daemon, "later", later_);
  EXPECT_EQ(daemon.Stop(), 0);
}

TEST_F(BackupDrillTest, TheOlderOneHasWhatWasDeletedSince) {
  {
    Daemon daemon(DataDir());
    Push(daemon, "base", base_, {"--wait"});
    Push(daemon, "tuned", tuned_, {"--parent", "base", "--wait"});
    daemon.WdeltaOk({"tag", "tuned@prod", "tuned"});
    Backup(daemon);
    daemon.WdeltaOk({"rm", "tuned"});
    daemon.WdeltaOk({"gc", "--wait"});
    Backup(daemon);
    Destroy(daemon);
  }
  EXPECT_EQ(Restore({"--backup_id=1"}).exit_code, 0);
  Daemon daemon(DataDir());
  ExpectPulledEqual(daemon, "tuned@prod", tuned_);
  EXPECT_THAT(daemon.WdeltaOk({"scrub"}), HasSubstr("0 damaged"));
  EXPECT_EQ(daemon.Stop(), 0);
}

TEST_F(BackupDrillTest, SaysWhatIsWrong) {
  Daemon daemon(DataDir());
  Push(daemon, "base", base_, {"--wait"});
  const CommandResult relative = daemon.Wdelta({"admin", "backup", "backups"});
  EXPECT_EQ(relative.exit_code, 5);
  EXPECT_EQ(
      relative.err,
      "wdelta: admin backup: folder: expected an absolute path on the daemon's machine, found "
      "`backups` [BAD_BACKUP_DIR]\n");
  const CommandResult inside = daemon.Wdelta({"admin", "backup", DataDir() + "/b"});
  EXPECT_EQ(inside.exit_code, 5);
  EXPECT_THAT(inside.err, HasSubstr("apart from the data folder"));
  folder_.Write("foreign/thesis.tex", "mine");
  const CommandResult foreign = daemon.Wdelta({"admin", "backup", folder_ / "foreign"});
  EXPECT_EQ(foreign.exit_code, 9);
  EXPECT_THAT(foreign.err, AllOf(HasSubstr("thesis.tex"), HasSubstr("[NOT_A_BACKUP_DIR]")));

  const std::string line = daemon.WdeltaOk({"admin", "backup", BackupDir(), "--keep=3"});
  EXPECT_THAT(line, AllOf(StartsWith("backup 1  1 models, "), HasSubstr(", verified  in ")));
  EXPECT_THAT(daemon.WdeltaOk({"admin", "--help"}),
              AllOf(HasSubstr("--verify_backup"), HasSubstr("--restore_from")));
  const CommandResult full = RunDaemon(DataDir(), {"--restore_from=" + BackupDir()});
  EXPECT_EQ(full.exit_code, 1);
  EXPECT_THAT(full.err, AllOf(HasSubstr(DataDir()), HasSubstr("expected none or an empty one")));
  EXPECT_EQ(daemon.Stop(), 0);

  std::string record = folder_.Read("backups/records/000001");
  record[3] = static_cast<char>(record[3] ^ 1);
  folder_.Write("backups/records/000001", record);
  const CommandResult damaged = RunDaemon(DataDir(), {"--verify_backup=" + BackupDir()});
  EXPECT_EQ(damaged.exit_code, 1);
  EXPECT_THAT(damaged.out, StartsWith("backup 1  DAMAGED: "));
  EXPECT_THAT(damaged.err, HasSubstr("records/000001"));
}

}  // namespace
}  // namespace wdelta::testing
