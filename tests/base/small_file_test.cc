#include "storage/base/small_file.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace wdelta {
namespace {

using ::testing::StartsWith;

TEST(SmallFile, IsReadWhole) {
  const TempFolder folder;
  folder.Write("f", std::string("a\0b\n", 4));
  EXPECT_EQ(*ReadSmallFile(folder / "f", 4), std::string("a\0b\n", 4));
  folder.Write("empty", "");
  EXPECT_EQ(*ReadSmallFile(folder / "empty", 4), "");
}

TEST(SmallFile, OneThatIsTooLargeIsRefused) {
  const TempFolder folder;
  folder.Write("f", "12345");
  const absl::Status status = ReadSmallFile(folder / "f", 4).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_EQ(status.message(), folder / "f" + ": expected at most 4 bytes");
}

TEST(SmallFile, OneThatCannotBeReadIsNamed) {
  const TempFolder folder;
  const absl::Status missing = ReadSmallFile(folder / "f", 4).status();
  EXPECT_TRUE(absl::IsNotFound(missing)) << missing;
  EXPECT_EQ(missing.message(), folder / "f" + ": cannot be read: No such file or directory");
  const absl::Status is_folder = ReadSmallFile(folder.path(), 4).status();
  EXPECT_TRUE(absl::IsNotFound(is_folder)) << is_folder;
  EXPECT_THAT(std::string(is_folder.message()), StartsWith(folder.path()));
}

}  // namespace
}  // namespace wdelta
