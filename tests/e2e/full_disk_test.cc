// A disk that really is full: writes fail in the middle of everything. Nothing stored is
// harmed, what is stored is served, and the daemon goes on by itself when there is space.
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/daemon.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {
namespace {

using ::testing::HasSubstr;

class FullDiskTest : public ::testing::Test {
 protected:
  FullDiskTest() {
    for (const auto& [path, bytes] : SmallCheckpoint(1)) folder_.Write("base/" + path, bytes);
    for (const auto& [path, bytes] : SmallCheckpoint(1, 2)) folder_.Write("tuned/" + path, bytes);
  }

  // Its disk is full while Fill is in force.
  std::unique_ptr<Daemon> StartDaemon() const {
    setenv("LD_PRELOAD", FULL_DISK_FILE, 1);
    setenv("WDELTA_FULL_DISK_FLAG", (folder_ / "full").c_str(), 1);
    auto daemon = std::make_unique<Daemon>(folder_ / "data");
    unsetenv("LD_PRELOAD");
    return daemon;
  }
  void Fill() const { folder_.Write("full", ""); }
  void Free() const { std::filesystem::remove(folder_ / "full"); }

  void ExpectPulledEqual(const Daemon& daemon, const std::string& name, uint32_t tune_seed) const {
    daemon.WdeltaOk({"pull", name, folder_ / "out"});
    for (const auto& [path, bytes] : SmallCheckpoint(1, tune_seed)) {
      EXPECT_TRUE(folder_.Read("out/" + path) == bytes) << name << "/" << path;
    }
  }

  const TempFolder folder_;
};

TEST_F(FullDiskTest, TheDaemonServesMeanwhileAndGoesOnWhenThereIsSpace) {
  const auto daemon = StartDaemon();
  daemon->WdeltaOk({"push", folder_ / "base", "--name", "base", "--wait"});
  daemon->WdeltaOk({"tag", "base@before", "base"});
  for (int round = 0; round < 3; ++round) {
    SCOPED_TRACE(round);
    const std::string tag = "base@r" + std::to_string(round);
    const std::string name = "tuned-" + std::to_string(round);
    Fill();
    for (int i = 0; i < 2; ++i) {
      const CommandResult tagged = daemon->Wdelta({"tag", tag, "base"});
      EXPECT_NE(tagged.exit_code, 0);
      EXPECT_THAT(tagged.err, HasSubstr("[DISK_FULL]"));
      const CommandResult pushed = daemon->Wdelta({"push", folder_ / "tuned", "--name", name});
      EXPECT_NE(pushed.exit_code, 0);
      EXPECT_THAT(pushed.err, HasSubstr("[DISK_FULL]"));
    }
    ExpectPulledEqual(*daemon, "base", 0);
    Free();
    EXPECT_NE(daemon->Wdelta({"show", tag}).exit_code, 0) << "was refused";
    daemon->WdeltaOk({"tag", tag, "base"});
    daemon->WdeltaOk({"push", folder_ / "tuned", "--name", name, "--parent", "base", "--wait"});
    ExpectPulledEqual(*daemon, name, 2);
  }
  EXPECT_EQ(daemon->Stop(), 0);

  const auto again = StartDaemon();
  for (const char* tag : {"base@before", "base@r0", "base@r1", "base@r2"}) {
    ExpectPulledEqual(*again, tag, 0);
  }
  ExpectPulledEqual(*again, "tuned-2", 2);
}

}  // namespace
}  // namespace wdelta::testing
