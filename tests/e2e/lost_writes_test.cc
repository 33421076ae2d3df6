// A log that the disk has damaged: the daemon does not start over what is lost, unless asked to.
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/daemon.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class LostWritesTest : public ::testing::Test {
 protected:
  std::string DataDir() const { return folder_ / "data"; }

  void Push(const Daemon& daemon, const std::string& name, const TestFiles& files,
            const std::vector<std::string>& more = {}) const {
    for (const auto& [path, bytes] : files) folder_.Write(name + "/" + path, bytes);
    std::vector<std::string> arguments = {"push", folder_ / name, "--name", name, "--wait"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    daemon.WdeltaOk(arguments);
  }

  void ExpectPulledEqual(const Daemon& daemon, const std::string& model, const TestFiles& files) {
    const std::string target = "pulled" + std::to_string(++pulls_);
    daemon.WdeltaOk({"pull", model, folder_ / target});
    for (const auto& [path, bytes] : files) {
      EXPECT_TRUE(folder_.Read(target + "/" + path) == bytes) << model << "/" << path;
    }
  }

  static void Kill(Daemon& daemon) {
    daemon.process().Signal(SIGKILL);
    daemon.process().Wait();
  }

  // One bit amid the largest log of a database; a second call undoes it.
  void FlipBit(const std::string& database) const {
    fs::path log;
    for (const auto& entry : fs::directory_iterator(DataDir() + "/" + database)) {
      if (entry.path().extension() != ".log") continue;
      if (log.empty() || entry.file_size() > fs::file_size(log)) log = entry.path();
    }
    ASSERT_FALSE(log.empty());
    const auto at = static_cast<std::streamoff>(fs::file_size(log) / 2);
    ASSERT_GT(at, 0);
    std::fstream file(log, std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(at);
    const char byte = static_cast<char>(file.get() ^ 4);
    file.seekp(at);
    file.put(byte);
  }

  void ExpectRefused(const std::string& database, const std::string& subject) const {
    const CommandResult refused = RunDaemon(DataDir(), {"--listen=127.0.0.1:0"});
    EXPECT_EQ(refused.exit_code, 1);
    EXPECT_THAT(
        refused.err,
        AllOf(HasSubstr(subject + " " + DataDir() + "/" + database + ": expected "),
              HasSubstr(DataDir() + "/" + database + "/HIGH_WATER"), HasSubstr("Restore a backup"),
              HasSubstr("accept_lost_writes"), Not(HasSubstr(" serves "))));
  }

  const TempFolder folder_;
  const TestFiles base_ = SmallCheckpoint(1);
  const TestFiles later_ = SmallCheckpoint(1, 2);
  int pulls_ = 0;
};

TEST_F(LostWritesTest, OfTheCatalogAreRefusedOrAccepted) {
  {
    Daemon daemon(DataDir());
    Push(daemon, "base", base_);
    Kill(daemon);
  }
  FlipBit("catalog");
  ExpectRefused("catalog", "catalog");
  ExpectRefused("catalog", "catalog");
  FlipBit("catalog");
  {
    // The attempts have changed nothing.
    Daemon daemon(DataDir());
    ExpectPulledEqual(daemon, "base", base_);
    Push(daemon, "later", later_);
    Kill(daemon);
  }
  FlipBit("catalog");
  ExpectRefused("catalog", "catalog");
  {
    Daemon daemon(DataDir(), {"--accept_lost_writes=true"});
    EXPECT_THAT(daemon.process().output(),
                AllOf(HasSubstr("accept_lost_writes is set"), HasSubstr("lost writes accepted: "),
                      HasSubstr(DataDir() + "/catalog/HIGH_WATER")));
    // What was written out before the damaged log is there.
    ExpectPulledEqual(daemon, "base", base_);
    EXPECT_EQ(daemon.Stop(), 0);
  }
  Daemon daemon(DataDir());
  EXPECT_THAT(daemon.process().output(), Not(HasSubstr("lost writes")));
  ExpectPulledEqual(daemon, "base", base_);
  Push(daemon, "again", later_);
  ExpectPulledEqual(daemon, "again", later_);
  EXPECT_EQ(daemon.Stop(), 0);
}

TEST_F(LostWritesTest, OfBothAreToldByARefusalThatChangesNothing) {
  {
    Daemon daemon(DataDir());
    Push(daemon, "base", base_);
    Kill(daemon);
  }
  folder_.Write("data/incoming/part", "piece");
  FlipBit("blobs");
  FlipBit("catalog");
  ExpectRefused("blobs", "blob store");
  ExpectRefused("catalog", "catalog");
  EXPECT_EQ(folder_.Read("data/incoming/part"), "piece");
  FlipBit("blobs");
  ExpectRefused("catalog", "catalog");
  FlipBit("catalog");
  Daemon daemon(DataDir());
  ExpectPulledEqual(daemon, "base", base_);
  EXPECT_EQ(daemon.Stop(), 0);
}

TEST_F(LostWritesTest, OfTheBlobsAreFoundByScrubOnceAccepted) {
  {
    Daemon daemon(DataDir());
    Push(daemon, "base", base_);
    Kill(daemon);
  }
  FlipBit("blobs");
  ExpectRefused("blobs", "blob store");
  Daemon daemon(DataDir(), {"--accept_lost_writes=true"});
  EXPECT_THAT(daemon.process().output(), HasSubstr("lost writes accepted: blob store "));
  EXPECT_THAT(daemon.Wdelta({"scrub"}).out, HasSubstr("DAMAGED   base "));
  EXPECT_THAT(daemon.Wdelta({"pull", "base", folder_ / "damaged"}).err,
              HasSubstr("[BLOB_DAMAGED]"));
  Push(daemon, "base", base_, {"--new-version"});
  ExpectPulledEqual(daemon, "base", base_);
  EXPECT_EQ(daemon.Stop(), 0);
}

}  // namespace
}  // namespace wdelta::testing
