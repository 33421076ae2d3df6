// Several `wdelta pull` and `wdelta export` at once into one folder.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/digest.h"
#include "storage/base/limits.h"
#include "tests/e2e/daemon.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {
namespace {

using ::testing::HasSubstr;

constexpr int kConflictExitCode = 4;
constexpr uint64_t kBlobBytes = 24 * limits::kMiB;

std::string Blob() {
  std::string blob(kBlobBytes, '\0');
  for (size_t i = 0; i < blob.size(); ++i) blob[i] = static_cast<char>(i * 31 + i / 251);
  return blob;
}

class ConcurrentPullTest : public ::testing::Test {
 protected:
  std::vector<std::string> PullCommand(const Daemon& daemon) const {
    return {WDELTA_FILE, "pull", "m", folder_ / "out", "--server", daemon.address()};
  }

  const TempFolder folder_;
};

TEST_F(ConcurrentPullTest, AFileIsNeverOfTwoPulls) {
  const Daemon daemon(folder_ / "data");
  const std::string blob = Blob();
  folder_.Write("in/blob.bin", blob);
  daemon.WdeltaOk({"push", folder_ / "in", "--name", "m", "--wait"});
  std::vector<std::unique_ptr<ChildProcess>> pulls;
  for (int i = 0; i < 4; ++i) {
    pulls.push_back(std::make_unique<ChildProcess>(PullCommand(daemon)));
  }
  int succeeded = 0;
  for (const auto& pull : pulls) {
    const int exit_code = pull->Wait();
    if (exit_code == 0) ++succeeded;
    if (exit_code != 0) {
      EXPECT_EQ(exit_code, kConflictExitCode) << pull->output();
      EXPECT_THAT(pull->output(), HasSubstr("PART_IN_USE"));
    }
  }
  EXPECT_GE(succeeded, 1);
  EXPECT_TRUE(folder_.Read("out/blob.bin") == blob);
}

TEST_F(ConcurrentPullTest, APullTellsWhoElseWrites) {
  const Daemon daemon(folder_ / "data");
  const std::string content = "the content of a file";
  folder_.Write("in/x.txt", content);
  daemon.WdeltaOk({"push", folder_ / "in", "--name", "m", "--wait"});
  // This process is the other pull.
  const std::string part =
      absl::StrCat("out/.x.txt.", Digest::Of(content).ToHex().substr(0, 16), ".wdelta-part");
  folder_.Write(part, content.substr(0, 5));
  const int descriptor = open((folder_ / part).c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_GE(descriptor, 0);
  ASSERT_EQ(flock(descriptor, LOCK_EX | LOCK_NB), 0);
  const CommandResult refused = daemon.Wdelta({"pull", "m", folder_ / "out"});
  EXPECT_EQ(refused.exit_code, kConflictExitCode);
  EXPECT_THAT(refused.err,
              HasSubstr(absl::StrCat("another pull or export writes ", folder_ / "out/x.txt")));
  EXPECT_EQ(folder_.Read(part), content.substr(0, 5));
  close(descriptor);
  daemon.WdeltaOk({"pull", "m", folder_ / "out"});
  EXPECT_EQ(folder_.Read("out/x.txt"), content);
}

}  // namespace
}  // namespace wdelta::testing
