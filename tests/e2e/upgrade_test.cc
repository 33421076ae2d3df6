// Data folders of every released format, opened by the present daemon.
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "storage/base/digest.h"
#include "storage/engine/disk/data_dir.h"
#include "tests/e2e/daemon.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {
namespace {

namespace fs = std::filesystem;

// Of model.safetensors, as pushed when the folders were written.
constexpr char kBaseSha256[] = "352c01e1a2383041f5fff8a64e6d15f9762d6b59fd930d390aa4186f8051e3c7";
constexpr char kFineTuneSha256[] =
    "160855aa9b74cebbd831e5b75b31244e4cd262ab5c52d7d2de3d029d999894c0";

class UpgradeTest : public ::testing::TestWithParam<int> {
 protected:
  std::string PulledSha256(const Daemon& daemon, const std::string& model) {
    daemon.WdeltaOk({"pull", model, folder_ / "pulled"});
    return Digest::Of(folder_.Read("pulled/model.safetensors")).ToHex();
  }

  const TempFolder folder_;
};

TEST_P(UpgradeTest, ServesAndTakesModels) {
  const std::string data = folder_ / "data";
  fs::copy(absl::StrCat(WDELTA_GOLDEN_DIR, "/data_folders/format_", GetParam()), data,
           fs::copy_options::recursive);
  {
    Daemon daemon(data);
    EXPECT_EQ(PulledSha256(daemon, "base"), kBaseSha256);
    EXPECT_EQ(PulledSha256(daemon, "fine-tune@prod"), kFineTuneSha256);
    daemon.WdeltaOk({"push", folder_ / "pulled", "--name", "again", "--parent", "base", "--wait"});
    daemon.WdeltaOk({"rm", "fine-tune"});
    EXPECT_EQ(daemon.Stop(), 0);
  }
  EXPECT_EQ(folder_.Read("data/FORMAT"), absl::StrCat("wdelta-data ", kDataFormat, "\n"));
  const Daemon daemon(data);
  EXPECT_EQ(PulledSha256(daemon, "base"), kBaseSha256);
  EXPECT_EQ(PulledSha256(daemon, "again"), kFineTuneSha256);
}

INSTANTIATE_TEST_SUITE_P(Formats, UpgradeTest, ::testing::Values(1));

}  // namespace
}  // namespace wdelta::testing
