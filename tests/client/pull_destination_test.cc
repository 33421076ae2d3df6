#include "client/cpp/pull_destination.h"

#include <filesystem>
#include <string>
#include <vector>

#include "client/cpp/part_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "tests/support/temp_folder.h"

namespace wdelta {
namespace {

class PullDestinationTest : public ::testing::Test {
 protected:
  PullDestinationTest() {
    const std::filesystem::space_info space = std::filesystem::space(folder_.path());
    v1::File& file = files_.emplace_back();
    file.set_path("sub/w");
    file.set_sha256(std::string(64, 'a'));
    // Whatever is freed meanwhile, the disk will not hold it.
    file.set_size_bytes(space.capacity + 1);
  }
  absl::Status Check(const std::string& link_from = "") const {
    return CheckDestination(files_, folder_ / "out", link_from);
  }
  // Takes no space.
  void WriteSparse(const std::string& name, uint64_t size_bytes) {
    folder_.Write(name, "");
    std::filesystem::resize_file(folder_ / name, size_bytes);
  }

  TempFolder folder_;
  std::vector<v1::File> files_;
};

TEST_F(PullDestinationTest, TellsWhatDoesNotFit) {
  const absl::Status status = Check();
  EXPECT_EQ(ErrorReason(status), "DISK_FULL") << status;
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("expected space for "));
  EXPECT_FALSE(folder_.Has("out"));
  files_[0].set_size_bytes(1);
  EXPECT_TRUE(Check().ok());
}

TEST_F(PullDestinationTest, PartsReplacedFilesAndLinksCount) {
  const uint64_t capacity = std::filesystem::space(folder_.path()).capacity;
  const uint64_t size_bytes = capacity + (uint64_t{1} << 20);
  files_[0].set_size_bytes(size_bytes);
  const std::string part = PartFile::NameOf("out/sub/w", std::string(kPartTagBytes, 'a'));
  EXPECT_EQ(part, "out/sub/.w.aaaaaaaaaaaaaaaa.wdelta-part");
  WriteSparse(part, size_bytes);
  EXPECT_TRUE(Check().ok());
  std::filesystem::remove(folder_ / part);
  EXPECT_EQ(ErrorReason(Check()), "DISK_FULL");
  WriteSparse("out/sub/w", size_bytes + 1);
  EXPECT_TRUE(Check().ok());
  std::filesystem::remove(folder_ / "out/sub/w");
  WriteSparse("earlier/sub/w", size_bytes);
  EXPECT_EQ(ErrorReason(Check()), "DISK_FULL");
  EXPECT_TRUE(Check(folder_ / "earlier").ok());
}

TEST_F(PullDestinationTest, AFolderHasTheNameOfAFile) {
  files_[0].set_size_bytes(1);
  folder_.Write("out/sub/w/x", "x");
  const absl::Status status = Check();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("out/sub/w: is a folder"));
}

}  // namespace
}  // namespace wdelta
