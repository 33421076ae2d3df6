// Streams with a correction: what is written is read, lies are refused, and a file of today
// stays readable for ever.
#include <cmath>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/checksum.h"
#include "storage/base/error.h"
#include "storage/tensor/safetensors.h"
#include "storage/wdelta/dump.h"
#include "tests/wdelta/sample_model.h"

namespace wdelta {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kRows = 40;
constexpr uint64_t kColumns = 52;
constexpr uint64_t kChunkBytes = 1024;
constexpr uint32_t kRank = 2;

std::string FloatBytes(float number) {
  std::string bytes(4, '\0');
  std::memcpy(bytes.data(), &number, 4);
  return bytes;
}

// Small integers over powers of two: sums are exact on any machine.
float ParentNumber(uint64_t i, uint64_t j) {
  return static_cast<float>(static_cast<int>((i * 31 + j * 17) % 255) - 127) / 1024;
}
float U(uint64_t i, uint64_t k) {
  return static_cast<float>(static_cast<int>((i * 7 + k * 3) % 15) - 7) / 16;
}
float V(uint64_t k, uint64_t j) {
  return static_cast<float>(static_cast<int>((j * 5 + k * 11) % 31) - 15) / 32;
}

Correction MakeCorrection() {
  Correction correction{{kRank, DType::kF32}, ""};
  for (uint64_t i = 0; i < kRows; ++i) {
    for (uint32_t k = 0; k < kRank; ++k) correction.factors += FloatBytes(U(i, k));
  }
  for (uint32_t k = 0; k < kRank; ++k) {
    for (uint64_t j = 0; j < kColumns; ++j) correction.factors += FloatBytes(V(k, j));
  }
  return correction;
}

SampleModel MakeModel(bool is_child) {
  SampleModel model;
  std::vector<TensorInfo> tensors = {{"w", DType::kF32, {kRows, kColumns}, 0, 0}};
  tensors[0].size_bytes = kRows * kColumns * 4;
  const std::string header = WriteSafetensorsHeader(tensors, {}).value();
  std::string content;
  for (uint64_t i = 0; i < kRows; ++i) {
    for (uint64_t j = 0; j < kColumns; ++j) {
      float number = ParentNumber(i, j);
      if (is_child) number += U(i, 0) * V(0, j) + U(i, 1) * V(1, j);
      // A few numbers that the correction does not explain.
      if (is_child && (i + j) % 50 == 0) number += 0x1p-20f;
      content += FloatBytes(number);
    }
  }
  model.files = {
      {"model.safetensors", header.size() + content.size(), Digest::Of(header + content), true}};
  tensors[0].offset_bytes = header.size();
  model.streams = {{StreamKind::kHeader, 0, {"", DType::kU8, {header.size()}, 0, header.size()}},
                   {StreamKind::kTensor, 0, tensors[0]}};
  model.contents = {header, content};
  return model;
}

// What the child's tensor is coded against.
std::string CorrectedParent() {
  const SampleModel parent = MakeModel(false);
  const Correction correction = MakeCorrection();
  std::string numbers = parent.contents[1];
  std::vector<float> scratch;
  CorrectNumbers(parent.streams[1].tensor, correction.form, correction.factors, 0, numbers,
                 scratch);
  return numbers;
}

std::string Write() {
  const SampleModel child = MakeModel(true);
  const std::string corrected = CorrectedParent();
  const Correction correction = MakeCorrection();
  std::string bytes;
  WdeltaWriter writer(
      [&](absl::string_view more) {
        bytes.append(more.data(), more.size());
        return absl::OkStatus();
      },
      kChunkBytes);
  ChunkCodec codec;
  EXPECT_TRUE(writer.Begin().ok());
  for (uint32_t s = 0; s < 2; ++s) {
    EXPECT_TRUE(
        writer.BeginStream(child.streams[s], s, std::nullopt, s == 1 ? &correction : nullptr).ok());
    const absl::string_view content = child.contents[s];
    for (size_t at = 0; at < content.size(); at += kChunkBytes) {
      const absl::string_view target = content.substr(at, kChunkBytes);
      const absl::string_view base = s == 0 ? content : absl::string_view(corrected);
      const LaneFormat format = LaneFormatOf(child.streams[s].tensor.dtype);
      const auto chunk = codec.Encode(format, target, base.substr(at, kChunkBytes));
      EXPECT_TRUE(writer.AddChunk(*chunk, Xxh3(target)).ok());
    }
    EXPECT_TRUE(writer.EndStream(Digest::Of(content)).ok());
  }
  EXPECT_TRUE(writer.Finish(child.files, ModelDigest(MakeModel(false).files)).ok());
  return bytes;
}

std::string GoldenPath() { return std::string(WDELTA_GOLDEN_DIR) + "/modes/corrected.wdelta"; }

void ExpectDecodes(const WdeltaReader& reader) {
  const WdeltaStream& stream = reader.file().streams[1];
  ASSERT_TRUE(stream.correction.has_value());
  EXPECT_EQ(stream.correction->form, (CorrectionForm{kRank, DType::kF32}));
  const auto factors = reader.ReadFactors(1);
  ASSERT_TRUE(factors.ok()) << factors.status();
  std::string parent = MakeModel(false).contents[1];
  std::vector<float> scratch;
  CorrectNumbers(stream.info.tensor, stream.correction->form, *factors, 0, parent, scratch);
  ChunkCodec codec;
  std::string content(stream.info.tensor.size_bytes, '\0');
  for (uint64_t c = 0; c < stream.chunk_count; ++c) {
    const ChunkSpan span = SpanOfChunk(reader.file(), stream, c);
    const absl::string_view base =
        absl::string_view(parent).substr(span.offset_bytes, span.size_bytes);
    ASSERT_TRUE(reader.DecodeChunk(codec, 1, c, base, content.data() + span.offset_bytes).ok());
  }
  EXPECT_TRUE(content == MakeModel(true).contents[1]);
  EXPECT_LT(PayloadBytesOf(reader.file(), stream), 3000u);
}

TEST(CorrectionFormatTest, WhatIsWrittenIsRead) {
  const auto reader = OpenBytes(Write());
  ASSERT_TRUE(reader.ok()) << reader.status();
  ExpectDecodes(**reader);
  EXPECT_EQ((*reader)->ReadFactors(0).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*reader)->ReadFactors(2).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(*DumpText(**reader), HasSubstr("yes+rank-2"));
  EXPECT_THAT(*DumpJson(**reader), HasSubstr("\"rank\": 2"));
}

TEST(CorrectionFormatTest, TheGoldenFileDecodes) {
  auto file = NewPosixFileSystem()->OpenForRead(GoldenPath());
  ASSERT_TRUE(file.ok()) << file.status();
  const auto reader = WdeltaReader::Open(*std::move(file));
  ASSERT_TRUE(reader.ok()) << reader.status();
  ExpectDecodes(**reader);
}

TEST(CorrectionFormatTest, DamagedFactorsAreFound) {
  std::string bytes = Write();
  const auto intact = *OpenBytes(bytes);
  const WdeltaCorrection& correction = *intact->file().streams[1].correction;
  bytes[correction.payload_offset + 5] ^= 1;
  const auto reader = OpenBytes(bytes);
  ASSERT_TRUE(reader.ok()) << reader.status();
  const absl::Status status = (*reader)->ReadFactors(1).status();
  EXPECT_EQ(ErrorReason(status), "BAD_WDELTA");
  EXPECT_THAT(std::string(status.message()), HasSubstr("stream 1 (`w`) factors at offset"));
}

TEST(CorrectionFormatTest, WritersRefuseFactorsOfAnotherSize) {
  const SampleModel child = MakeModel(true);
  Correction correction = MakeCorrection();
  correction.factors.pop_back();
  WdeltaWriter writer([](absl::string_view) { return absl::OkStatus(); }, kChunkBytes);
  ASSERT_TRUE(writer.Begin().ok());
  const absl::Status status = writer.BeginStream(child.streams[1], 1, std::nullopt, &correction);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
}

// Writes the file anew: only ever for a version that was not released.
TEST(CorrectionFormatTest, DISABLED_WriteFile) {
  std::ofstream(GoldenPath(), std::ios::binary) << Write();
}

}  // namespace
}  // namespace wdelta
