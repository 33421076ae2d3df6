// Calls of the writer that are out of order or do not add up.
#include "storage/wdelta/wdelta_writer.h"

#include <gtest/gtest.h>

#include "storage/base/checksum.h"
#include "tests/wdelta/sample_model.h"

namespace wdelta {
namespace {

constexpr auto kOutOfOrder = absl::StatusCode::kFailedPrecondition;

class WriterTest : public testing::Test {
 protected:
  StreamInfo SideFile(uint64_t size) const {
    StreamInfo info;
    info.tensor.shape = {size};
    info.tensor.size_bytes = size;
    return info;
  }
  EncodedChunk Raw(size_t size) const { return {ChunkMode::kRaw, std::string(size, 'r')}; }

  std::string bytes_;
  WdeltaWriter writer_{[this](absl::string_view piece) {
                         bytes_.append(piece.data(), piece.size());
                         return absl::OkStatus();
                       },
                       64};
};

TEST_F(WriterTest, NothingBeforeBegin) {
  EXPECT_EQ(writer_.BeginStream(SideFile(1), std::nullopt).code(), kOutOfOrder);
  EXPECT_EQ(writer_.AddChunk(Raw(1), 0).code(), kOutOfOrder);
  EXPECT_EQ(writer_.EndStream(Digest()).code(), kOutOfOrder);
  EXPECT_EQ(writer_.Finish({}, std::nullopt).status().code(), kOutOfOrder);
  EXPECT_TRUE(bytes_.empty());
}

TEST_F(WriterTest, BeginOnce) {
  ASSERT_TRUE(writer_.Begin().ok());
  EXPECT_EQ(writer_.Begin().code(), kOutOfOrder);
}

TEST_F(WriterTest, OneStreamAtATime) {
  ASSERT_TRUE(writer_.Begin().ok());
  EXPECT_EQ(writer_.AddChunk(Raw(1), 0).code(), kOutOfOrder);
  EXPECT_EQ(writer_.EndStream(Digest()).code(), kOutOfOrder);
  ASSERT_TRUE(writer_.BeginStream(SideFile(10), std::nullopt).ok());
  EXPECT_EQ(writer_.BeginStream(SideFile(10), std::nullopt).code(), kOutOfOrder);
  EXPECT_EQ(writer_.Finish({}, std::nullopt).status().code(), kOutOfOrder);
}

TEST_F(WriterTest, ChunksAddUpToTheStream) {
  ASSERT_TRUE(writer_.Begin().ok());
  ASSERT_TRUE(writer_.BeginStream(SideFile(65), std::nullopt).ok());
  EXPECT_EQ(writer_.AddChunk(Raw(65), 0).code(), kOutOfOrder) << "longer than a chunk";
  ASSERT_TRUE(writer_.AddChunk(Raw(64), 0).ok());
  EXPECT_EQ(writer_.EndStream(Digest()).code(), kOutOfOrder) << "one chunk is missing";
  EXPECT_EQ(writer_.AddChunk(Raw(2), 0).code(), kOutOfOrder) << "the last chunk has one byte";
  ASSERT_TRUE(writer_.AddChunk(Raw(1), 0).ok());
  EXPECT_EQ(writer_.AddChunk(Raw(1), 0).code(), kOutOfOrder) << "beyond the end";
  EXPECT_TRUE(writer_.EndStream(Digest()).ok());
}

TEST_F(WriterTest, ParentModesNeedAParentStream) {
  ASSERT_TRUE(writer_.Begin().ok());
  ASSERT_TRUE(writer_.BeginStream(SideFile(10), std::nullopt).ok());
  EXPECT_EQ(writer_.AddChunk({ChunkMode::kSame, ""}, 0).code(), kOutOfOrder);
}

TEST_F(WriterTest, SizeMatchesShape) {
  ASSERT_TRUE(writer_.Begin().ok());
  StreamInfo info = SideFile(10);
  info.tensor.size_bytes = 11;
  EXPECT_EQ(writer_.BeginStream(info, std::nullopt).code(), kOutOfOrder);
}

TEST_F(WriterTest, FilesMatchStreams) {
  ASSERT_TRUE(writer_.Begin().ok());
  ASSERT_TRUE(writer_.BeginStream(SideFile(2), std::nullopt).ok());
  ASSERT_TRUE(writer_.AddChunk(Raw(2), 0).ok());
  ASSERT_TRUE(writer_.EndStream(Digest()).ok());
  EXPECT_EQ(writer_.Finish({}, std::nullopt).status().code(), kOutOfOrder);
  EXPECT_EQ(writer_.Finish({{"a", 3, Digest(), false}}, std::nullopt).status().code(), kOutOfOrder);
  EXPECT_TRUE(writer_.Finish({{"a", 2, Digest(), false}}, std::nullopt).ok());
  EXPECT_EQ(writer_.Begin().code(), kOutOfOrder);
  EXPECT_EQ(writer_.Finish({}, std::nullopt).status().code(), kOutOfOrder);
}

TEST_F(WriterTest, ParentStreamNeedsAParentDigest) {
  ASSERT_TRUE(writer_.Begin().ok());
  ASSERT_TRUE(writer_.BeginStream(SideFile(2), 0).ok());
  ASSERT_TRUE(writer_.AddChunk({ChunkMode::kSame, ""}, 0).ok());
  ASSERT_TRUE(writer_.EndStream(Digest()).ok());
  EXPECT_EQ(writer_.Finish({{"a", 2, Digest(), false}}, std::nullopt).status().code(), kOutOfOrder);
  EXPECT_TRUE(writer_.Finish({{"a", 2, Digest(), false}}, Digest()).ok());
}

TEST(WriterChunkBytesTest, OddSizesAreRefused) {
  for (const uint64_t chunk_bytes : {uint64_t{0}, uint64_t{12}, uint64_t{1} << 40}) {
    WdeltaWriter writer([](absl::string_view) { return absl::OkStatus(); }, chunk_bytes);
    EXPECT_EQ(writer.Begin().code(), kOutOfOrder) << chunk_bytes;
  }
}

TEST(WriterSinkTest, FailureIsPassedOnAndEndsTheWriter) {
  int calls = 0;
  WdeltaWriter writer(
      [&calls](absl::string_view) -> absl::Status {
        return ++calls == 2 ? absl::ResourceExhaustedError("disk full") : absl::OkStatus();
      },
      64);
  ASSERT_TRUE(writer.Begin().ok());
  StreamInfo info;
  info.tensor.shape = {1};
  info.tensor.size_bytes = 1;
  ASSERT_TRUE(writer.BeginStream(info, std::nullopt).ok());
  EXPECT_EQ(writer.AddChunk({ChunkMode::kRaw, "x"}, 0).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(writer.EndStream(Digest()).code(), kOutOfOrder);
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace wdelta
