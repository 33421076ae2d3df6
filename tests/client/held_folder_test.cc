#include "client/cpp/held_folder.h"

#include <sys/stat.h>

#include <string>

#include "client/cpp/local_delta.h"
#include "client/cpp/local_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/digest.h"
#include "storage/base/error.h"
#include "tests/support/temp_folder.h"

namespace wdelta {
namespace {

// A file that can be opened but not read, as on a failing disk: a folder.
class UnreadableFileTest : public ::testing::Test {
 protected:
  UnreadableFileTest() { folder_.Write("config.json/x", "x"); }

  uint64_t SizeBytes() const {
    struct stat found {};
    EXPECT_EQ(stat((folder_ / "config.json").c_str(), &found), 0);
    EXPECT_GT(found.st_size, 0);
    return static_cast<uint64_t>(found.st_size);
  }

  const TempFolder folder_;
};

TEST_F(UnreadableFileTest, OfAHeldFolderIsThisMachines) {
  v1::Model model;
  v1::File& file = *model.add_files();
  file.set_path("config.json");
  file.set_size_bytes(SizeBytes());
  file.set_sha256(Digest::Of("").ToHex());
  const auto source = OpenHeldFolder(model, folder_.path());
  ASSERT_TRUE(source.ok()) << source.status();
  const absl::Status status =
      VerifyHeldFolder(**source, folder_.path(), [] { return absl::OkStatus(); });
  EXPECT_TRUE(absl::IsInternal(status)) << status;
  EXPECT_EQ(ErrorReason(status), kLocalFileReason);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("config.json"));
}

TEST_F(UnreadableFileTest, InPlaceOfADeltaIsThisMachines) {
  const auto file = OpenLocalFile(folder_ / "config.json");
  ASSERT_TRUE(file.ok()) << file.status();
  const absl::Status status = CheckIsDelta(folder_ / "config.json", **file);
  EXPECT_TRUE(absl::IsInternal(status)) << status;
  EXPECT_EQ(ErrorReason(status), kLocalFileReason);
}

}  // namespace
}  // namespace wdelta
