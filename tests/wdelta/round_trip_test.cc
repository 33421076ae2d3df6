// What the writer writes, the reader reads; what was damaged, it refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "storage/base/error.h"
#include "tests/wdelta/sample_model.h"

namespace wdelta {
namespace {

using testing::HasSubstr;

TEST(RoundTripTest, ModelWithParentComesBack) {
  const SampleModel parent = MakeSampleParent();
  const SampleModel child = MakeSampleChild();
  const auto reader = OpenBytes(WriteWdelta(child, &parent));
  ASSERT_TRUE(reader.ok()) << reader.status();
  const WdeltaFile& file = (*reader)->file();
  EXPECT_EQ(file.model_digest, ModelDigest(child.files));
  EXPECT_EQ(file.parent_digest, ModelDigest(parent.files));
  EXPECT_EQ(file.chunk_bytes, kSampleChunkBytes);
  ASSERT_EQ(file.files.size(), child.files.size());
  for (size_t i = 0; i < file.files.size(); ++i) {
    EXPECT_EQ(file.files[i].path, child.files[i].path);
    EXPECT_EQ(file.files[i].size_bytes, child.files[i].size_bytes);
    EXPECT_EQ(file.files[i].sha256, child.files[i].sha256);
    EXPECT_EQ(file.files[i].is_safetensors, child.files[i].is_safetensors);
  }
  ASSERT_EQ(file.streams.size(), child.streams.size());
  for (size_t i = 0; i < file.streams.size(); ++i) {
    const StreamInfo& found = file.streams[i].info;
    const StreamInfo& expected = child.streams[i];
    EXPECT_EQ(found.kind, expected.kind);
    EXPECT_EQ(found.file_index, expected.file_index);
    EXPECT_EQ(found.tensor.name, expected.tensor.name);
    EXPECT_EQ(found.tensor.dtype, expected.tensor.dtype);
    EXPECT_EQ(found.tensor.shape, expected.tensor.shape);
    EXPECT_EQ(found.tensor.offset_bytes, expected.tensor.offset_bytes);
    EXPECT_EQ(found.tensor.size_bytes, expected.tensor.size_bytes);
    EXPECT_EQ(file.streams[i].parent_stream, i);
    EXPECT_EQ(file.streams[i].sha256, Digest::Of(child.contents[i]));
  }
  const auto contents = DecodeStreams(**reader, &parent);
  ASSERT_TRUE(contents.ok()) << contents.status();
  EXPECT_EQ(*contents, child.contents);
}

TEST(RoundTripTest, RootComesBack) {
  const SampleModel model = MakeSampleParent();
  const auto reader = OpenBytes(WriteWdelta(model, nullptr));
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_FALSE((*reader)->file().parent_digest.has_value());
  const auto contents = DecodeStreams(**reader, nullptr);
  ASSERT_TRUE(contents.ok()) << contents.status();
  EXPECT_EQ(*contents, model.contents);
}

// Golden files and damage tests rest on this: zstd planes too are among the payloads.
TEST(RoundTripTest, SampleUsesEveryMode) {
  const SampleModel parent = MakeSampleParent();
  const auto reader = OpenBytes(WriteWdelta(MakeSampleChild(), &parent));
  ASSERT_TRUE(reader.ok()) << reader.status();
  std::set<ChunkMode> modes;
  for (const WdeltaChunk& chunk : (*reader)->file().chunks) modes.insert(chunk.mode);
  EXPECT_TRUE(modes.contains(ChunkMode::kRaw));
  EXPECT_TRUE(modes.contains(ChunkMode::kSame));
  EXPECT_TRUE(modes.contains(ChunkMode::kDeltaPlanes));
  const auto root = OpenBytes(WriteWdelta(MakeSampleChild(), nullptr));
  ASSERT_TRUE(root.ok()) << root.status();
  for (const WdeltaChunk& chunk : (*root)->file().chunks) modes.insert(chunk.mode);
  EXPECT_TRUE(modes.contains(ChunkMode::kConst));
  EXPECT_TRUE(modes.contains(ChunkMode::kPlanes));
}

TEST(RoundTripTest, EmptyModelComesBack) {
  const auto reader = OpenBytes(WriteWdelta(SampleModel(), nullptr));
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_TRUE((*reader)->file().streams.empty());
}

TEST(RoundTripTest, WrongParentIsDetected) {
  const SampleModel parent = MakeSampleParent();
  const SampleModel child = MakeSampleChild();
  const auto reader = OpenBytes(WriteWdelta(child, &parent));
  ASSERT_TRUE(reader.ok()) << reader.status();
  const absl::Status status = DecodeStreams(**reader, &child).status();
  EXPECT_EQ(ErrorReason(status), "BAD_WDELTA") << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("right parent"));
}

TEST(RoundTripTest, ChunksThatAreNotThereAreRefused) {
  const auto reader = OpenBytes(WriteWdelta(MakeSampleParent(), nullptr));
  ASSERT_TRUE(reader.ok()) << reader.status();
  const uint32_t streams = static_cast<uint32_t>((*reader)->file().streams.size());
  EXPECT_EQ((*reader)->ReadPayload(streams, 0).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*reader)->ReadPayload(0, 1000).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE((*reader)->ChunkNeedsParent(streams, 0));
}

TEST(DamageTest, EveryTruncationIsRefused) {
  const SampleModel parent = MakeSampleParent();
  const std::string bytes = WriteWdelta(MakeSampleChild(), &parent);
  for (size_t size = 0; size < bytes.size(); ++size) {
    const absl::Status status = OpenBytes(bytes.substr(0, size)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << size << ": " << status;
    EXPECT_EQ(ErrorReason(status), "BAD_WDELTA") << size << ": " << status;
  }
}

TEST(DamageTest, BytesBehindTheEndAreRefused) {
  EXPECT_EQ(OpenBytes(WriteWdelta(MakeSampleParent(), nullptr) + '\0').status().code(),
            absl::StatusCode::kDataLoss);
}

TEST(DamageTest, EveryFlippedByteIsDetected) {
  const SampleModel parent = MakeSampleParent();
  const SampleModel child = MakeSampleChild();
  const std::string bytes = WriteWdelta(child, &parent);
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (const int flip : {0x01, 0x80, 0xff}) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ flip);
      const auto reader = OpenBytes(damaged);
      if (!reader.ok()) {
        EXPECT_FALSE(ErrorReason(reader.status()).empty()) << at << ": " << reader.status();
        continue;
      }
      const auto contents = DecodeStreams(**reader, &parent);
      if (contents.ok()) {
        EXPECT_EQ(*contents, child.contents) << at;
      } else {
        EXPECT_EQ(ErrorReason(contents.status()), "BAD_WDELTA") << at << contents.status();
      }
    }
  }
}

TEST(DamageTest, DamagedChunkIsNamed) {
  const SampleModel model = MakeSampleParent();
  std::string bytes = WriteWdelta(model, nullptr);
  const auto intact = OpenBytes(bytes);
  ASSERT_TRUE(intact.ok()) << intact.status();
  const WdeltaFile& file = (*intact)->file();
  uint32_t rows = 0;
  while (file.streams[rows].info.tensor.name != "rows") ++rows;
  bytes[file.chunks[file.streams[rows].first_chunk + 1].payload_offset] ^= 1;
  const auto reader = OpenBytes(bytes);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_TRUE((*reader)->ReadPayload(rows, 0).ok());
  const absl::Status status = (*reader)->ReadPayload(rows, 1).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("(`rows`) chunk 1 at offset"));
}

TEST(VersionTest, DeltatensorsIsNamed) {
  const absl::Status status =
      OpenBytes(std::string("wdelta\0\x01\0\0\0whatever follows", 27)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status;
  EXPECT_EQ(ErrorReason(status), "UNSUPPORTED_WDELTA");
  EXPECT_THAT(std::string(status.message()), HasSubstr("deltatensors"));
}

TEST(VersionTest, LaterVersionIsRefused) {
  std::string bytes = WriteWdelta(MakeSampleParent(), nullptr);
  bytes[7] = 3;
  const absl::Status status = OpenBytes(bytes).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status;
}

TEST(VersionTest, AnotherFormatIsNoWdelta) {
  const absl::Status status = OpenBytes(std::string(200, 'x')).status();
  EXPECT_EQ(ErrorReason(status), "BAD_WDELTA") << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("not a .wdelta file"));
}

}  // namespace
}  // namespace wdelta
