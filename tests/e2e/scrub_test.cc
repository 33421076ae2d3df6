// Damage on the disk, found and mended with the real binaries.
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/daemon.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using Json = nlohmann::json;

class ScrubTest : public ::testing::Test {
 protected:
  static std::string DataOf(const std::string& name) {
    return std::string(WDELTA_TEST_DATA_DIR) + "/" + name;
  }
  void Start() { daemon_ = std::make_unique<Daemon>(folder_ / "data"); }
  void Restart() {
    ASSERT_EQ(daemon_->Stop(), 0);
    Start();
  }
  // Flips a bit in the middle of the largest file of blobs.
  void DamageBlobs() {
    fs::path largest;
    for (const auto& entry : fs::recursive_directory_iterator(folder_ / "data")) {
      if (entry.path().extension() != ".blob") continue;
      if (largest.empty() || entry.file_size() > fs::file_size(largest)) largest = entry.path();
    }
    ASSERT_FALSE(largest.empty());
    std::fstream file(largest, std::ios::in | std::ios::out | std::ios::binary);
    const auto middle = static_cast<std::streamoff>(fs::file_size(largest) / 2);
    file.seekg(middle);
    const char byte = static_cast<char>(file.get() ^ 0x10);
    file.seekp(middle);
    file.put(byte);
  }

  const TempFolder folder_;
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(ScrubTest, DamageOnTheDiskIsFoundAndMendedByPushingAgain) {
  Start();
  daemon_->WdeltaOk({"push", DataOf("base"), "--name", "base", "--wait"});
  EXPECT_THAT(daemon_->WdeltaOk({"scrub"}), HasSubstr("0 damaged"));
  Restart();  // opening the store writes what the log holds into files
  ASSERT_EQ(daemon_->Stop(), 0);
  DamageBlobs();
  Start();

  const CommandResult scrub = daemon_->Wdelta({"scrub", "--repair"});
  EXPECT_NE(scrub.exit_code, 0);
  EXPECT_THAT(scrub.err, HasSubstr("STORE_DAMAGED"));
  EXPECT_THAT(scrub.out, HasSubstr("DAMAGED   base"));
  EXPECT_THAT(scrub.out, HasSubstr("push the checkpoint again"));
  const CommandResult pull = daemon_->Wdelta({"pull", "base", folder_ / "lost"});
  EXPECT_NE(pull.exit_code, 0);
  EXPECT_THAT(pull.err, HasSubstr("base"));

  daemon_->WdeltaOk({"push", DataOf("base"), "--name", "base", "--new-version", "--wait"});
  daemon_->WdeltaOk({"scrub", "--repair"});
  const Json clean = Json::parse(daemon_->WdeltaOk({"scrub", "--output", "json"}), nullptr, false);
  EXPECT_EQ(clean["scrub_report"]["damage_count"], 0);
  daemon_->WdeltaOk({"pull", "base", folder_ / "mended"});
}

}  // namespace
}  // namespace wdelta::testing
