// Files of every released version of the format stay readable for ever.
#include <gtest/gtest.h>

#include <fstream>

#include "storage/base/file_system.h"
#include "tests/wdelta/sample_model.h"

namespace wdelta {
namespace {

constexpr char kGoldenPath[] = WDELTA_GOLDEN_DIR "/version2.wdelta";
constexpr char kGoldenRootPath[] = WDELTA_GOLDEN_DIR "/version2-root.wdelta";

absl::StatusOr<std::shared_ptr<const WdeltaReader>> OpenGolden(const char* path) {
  auto file = NewPosixFileSystem()->OpenForRead(path);
  if (!file.ok()) return file.status();
  return WdeltaReader::Open(*std::move(file));
}

TEST(GoldenTest, Version2DecodesAgainstItsParent) {
  const auto reader = OpenGolden(kGoldenPath);
  ASSERT_TRUE(reader.ok()) << reader.status();
  const SampleModel parent = MakeSampleParent();
  EXPECT_EQ((*reader)->file().parent_digest, ModelDigest(parent.files));
  EXPECT_EQ((*reader)->file().model_digest, ModelDigest(MakeSampleChild().files));
  const auto contents = DecodeStreams(**reader, &parent);
  ASSERT_TRUE(contents.ok()) << contents.status();
  EXPECT_EQ(*contents, MakeSampleChild().contents);
}

TEST(GoldenTest, Version2RootDecodes) {
  const auto reader = OpenGolden(kGoldenRootPath);
  ASSERT_TRUE(reader.ok()) << reader.status();
  const auto contents = DecodeStreams(**reader, nullptr);
  ASSERT_TRUE(contents.ok()) << contents.status();
  EXPECT_EQ(*contents, MakeSampleChild().contents);
}

// Writes the files anew: only ever for a version that was not released.
TEST(GoldenTest, DISABLED_WriteVersion2) {
  const SampleModel parent = MakeSampleParent();
  std::ofstream(kGoldenPath, std::ios::binary) << WriteWdelta(MakeSampleChild(), &parent);
  std::ofstream(kGoldenRootPath, std::ios::binary) << WriteWdelta(MakeSampleChild(), nullptr);
}

}  // namespace
}  // namespace wdelta
