// Metadata that lies, under checksums that hold: every rule of FORMAT.md.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zstd.h>

#include <functional>
#include <memory>

#include "storage/base/byte_reader.h"
#include "storage/base/checksum.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/wdelta/format.h"
#include "storage/wdelta/metadata.h"
#include "tests/wdelta/sample_model.h"

namespace wdelta {
namespace {

using testing::HasSubstr;

struct FooterLies {
  int64_t offset_error = 0;
  int64_t stored_error = 0;
  std::optional<uint64_t> metadata_bytes;
};

// As one zstd frame.
std::string Compress(const std::string& text, bool says_size = true) {
  const std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(),
                                                                   ZSTD_freeCCtx);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_contentSizeFlag, says_size ? 1 : 0);
  std::string frame(ZSTD_compressBound(text.size()), '\0');
  frame.resize(ZSTD_compress2(context.get(), frame.data(), frame.size(), text.data(), text.size()));
  return frame;
}

// A file of the first `payload_end` bytes of `intact`, then metadata that is compressed.
std::string AssembleStored(const std::string& intact, uint64_t payload_end,
                           const std::string& stored, uint64_t metadata_bytes,
                           FooterLies lies = {}) {
  std::string out = intact.substr(0, payload_end) + stored;
  AppendU64(out, payload_end + lies.offset_error);
  AppendU64(out, stored.size() + lies.stored_error);
  AppendU64(out, lies.metadata_bytes.value_or(metadata_bytes));
  AppendU32(out, Crc32c(stored));
  AppendU32(out, kWdeltaVersion);
  out += Digest::Of(intact.substr(0, format::kPreambleBytes) + stored).ToBytes();
  out.append(format::kFooterReservedBytes, '\0');
  out.append(format::kEndMagic.data(), format::kEndMagic.size());
  return out;
}

std::string Assemble(const std::string& intact, uint64_t payload_end, const std::string& metadata,
                     FooterLies lies = {}) {
  return AssembleStored(intact, payload_end, Compress(metadata), metadata.size(), lies);
}

class HostileTest : public testing::Test {
 protected:
  HostileTest() {
    const SampleModel parent = MakeSampleParent();
    bytes_ = WriteWdelta(MakeSampleChild(), &parent);
    const auto reader = OpenBytes(bytes_);
    EXPECT_TRUE(reader.ok()) << reader.status();
    file_ = (*reader)->file();
    const WdeltaChunk& last = file_.chunks.back();
    payload_end_ = last.payload_offset + last.payload_bytes;
  }

  absl::Status OpenWith(const WdeltaFile& file) const {
    return OpenBytes(Assemble(bytes_, payload_end_, SerializeMetadata(file))).status();
  }

  // Opening fails as corrupt, with `message`, once `lie` has changed the tables.
  void ExpectRefused(const char* message, const std::function<void(WdeltaFile&)>& lie) const {
    WdeltaFile file = file_;
    lie(file);
    const absl::Status status = OpenWith(file);
    EXPECT_EQ(ErrorReason(status), "BAD_WDELTA") << message << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }

  uint64_t StreamNamed(absl::string_view name) const {
    uint64_t index = 0;
    while (file_.streams[index].info.tensor.name != name) ++index;
    return index;
  }

  std::string bytes_;
  WdeltaFile file_;
  uint64_t payload_end_ = 0;
};

TEST_F(HostileTest, HonestTablesPass) { EXPECT_TRUE(OpenWith(file_).ok()) << OpenWith(file_); }

TEST_F(HostileTest, ChunkBytes) {
  ExpectRefused("chunk_bytes", [](WdeltaFile& file) { file.chunk_bytes = 0; });
  ExpectRefused("chunk_bytes", [](WdeltaFile& file) { file.chunk_bytes = 60; });
  ExpectRefused("chunk_bytes",
                [](WdeltaFile& file) { file.chunk_bytes = limits::kMaxChunkBytes + 8; });
  ExpectRefused("payload of at most", [](WdeltaFile& file) { file.chunk_bytes = 8; });
  ExpectRefused("payload of at most", [](WdeltaFile& file) { file.chunk_bytes = 512; });
}

TEST_F(HostileTest, ModelDigest) {
  ExpectRefused("model_digest", [](WdeltaFile& file) { file.model_digest = Digest(); });
}

TEST_F(HostileTest, Paths) {
  for (const char* path : {"../config.json", "/etc/passwd", "a//b", "", "a\\b"}) {
    ExpectRefused("file 0", [path](WdeltaFile& file) {
      file.files[0].path = path;
      file.model_digest = ModelDigest(file.files);
    });
  }
  ExpectRefused("expected a path after", [](WdeltaFile& file) {
    file.files[1].path = file.files[0].path;
    file.model_digest = ModelDigest(file.files);
  });
}

TEST_F(HostileTest, FileSizes) {
  ExpectRefused("expected streams of", [](WdeltaFile& file) {
    file.files[2].size_bytes += 1;
    file.model_digest = ModelDigest(file.files);
  });
  ExpectRefused("expected offset", [](WdeltaFile& file) {
    file.files[2].size_bytes -= 1;
    file.model_digest = ModelDigest(file.files);
  });
  ExpectRefused("expected at most", [](WdeltaFile& file) {
    file.files[2].size_bytes = limits::kMaxFileBytes + 1;
    file.model_digest = ModelDigest(file.files);
  });
}

TEST_F(HostileTest, StreamTable) {
  ExpectRefused("file_index", [](WdeltaFile& file) { file.streams[0].info.file_index = 4; });
  ExpectRefused("expected streams of",
                [](WdeltaFile& file) { std::swap(file.streams[0], file.streams[1]); });
  ExpectRefused("out of place",
                [](WdeltaFile& file) { file.streams[0].info.kind = StreamKind::kTensor; });
  ExpectRefused("out of place", [](WdeltaFile& file) { file.files[0].is_safetensors = true; });
  ExpectRefused("expected no name",
                [](WdeltaFile& file) { file.streams[0].info.tensor.name = "a"; });
  ExpectRefused("out of order", [](WdeltaFile& file) {
    file.streams.push_back(file.streams[0]);
    file.streams.back().chunk_count = 0;
  });
}

TEST_F(HostileTest, ShapesAndDtypes) {
  const uint64_t rows = StreamNamed("rows");
  ExpectRefused("stream", [&](WdeltaFile& file) {
    file.streams[rows].info.tensor.shape = {~0ull, 2};
  });
  ExpectRefused("expected offset",
                [&](WdeltaFile& file) { file.streams[rows].info.tensor.dtype = DType::kF64; });
  ExpectRefused("stream", [&](WdeltaFile& file) {
    file.streams[rows].info.tensor.dtype = DType::kF4;
    file.streams[rows].info.tensor.shape = {3};
  });
}

TEST_F(HostileTest, Parents) {
  ExpectRefused("without a parent_digest", [](WdeltaFile& file) { file.parent_digest.reset(); });
  ExpectRefused("in a stream without parent_stream",
                [&](WdeltaFile& file) { file.streams[StreamNamed("same")].parent_stream.reset(); });
}

TEST_F(HostileTest, ParentDTypes) {
  const uint64_t rows = StreamNamed("rows");
  ASSERT_EQ(file_.streams[rows].info.tensor.dtype, DType::kBF16);
  WdeltaFile converted = file_;
  converted.streams[rows].parent_dtype = DType::kF32;
  EXPECT_TRUE(OpenWith(converted).ok()) << OpenWith(converted);
  for (const DType dtype : {DType::kBF16, DType::kI16, DType::kF8E4M3}) {
    ExpectRefused("parent_dtype",
                  [&](WdeltaFile& file) { file.streams[rows].parent_dtype = dtype; });
  }
  ExpectRefused("parent_dtype", [&](WdeltaFile& file) {
    file.streams[rows].parent_dtype = DType::kF32;
    file.streams[rows].parent_stream.reset();
  });
  // A header, a side file.
  ExpectRefused("parent_dtype",
                [&](WdeltaFile& file) { file.streams[0].parent_dtype = DType::kF32; });
}

TEST_F(HostileTest, Corrections) {
  const uint64_t rows = StreamNamed("rows");
  const auto corrected = [](uint64_t stream, uint32_t rank, DType dtype) {
    return [=](WdeltaFile& file) { file.streams[stream].correction = {{rank, dtype}, 0, 0, 0}; };
  };
  // Nothing but the payload is missing.
  ExpectRefused("expected to end at", corrected(rows, 1, DType::kF16));
  ExpectRefused("cannot have one", corrected(rows, 0, DType::kF16));
  ExpectRefused("cannot have one", corrected(rows, 1, DType::kBF16));
  ExpectRefused("cannot have one", corrected(rows, 64, DType::kF16));  // too many bytes
  ExpectRefused("correction rank", corrected(rows, 65, DType::kF16));
  ExpectRefused("cannot have one", corrected(StreamNamed("noise"), 1, DType::kF16));
  ExpectRefused("cannot have one", corrected(StreamNamed("constant"), 1, DType::kF16));
  ExpectRefused("cannot have one", corrected(0, 1, DType::kF16));
  ExpectRefused("correction", [&](WdeltaFile& file) {
    file.streams[rows].parent_stream.reset();
    corrected(rows, 1, DType::kF16)(file);
  });
  ExpectRefused("cannot have one", [&](WdeltaFile& file) {
    file.streams[rows].info.tensor.shape = {uint64_t{1} << 58, 2};
    corrected(rows, 64, DType::kF32)(file);
  });
}

TEST_F(HostileTest, Payloads) {
  ExpectRefused("payload of at most", [](WdeltaFile& file) { file.chunks[0].payload_bytes = 257; });
  ExpectRefused("payload size", [](WdeltaFile& file) {
    file.chunks[0].payload_bytes = static_cast<uint32_t>(limits::kMaxChunkBytes) + 1;
  });
  ExpectRefused("expected to end at", [](WdeltaFile& file) { file.chunks[0].payload_bytes -= 1; });
  ExpectRefused("chunks from", [](WdeltaFile& file) { file.chunks.pop_back(); });
  ExpectRefused("chunk count", [](WdeltaFile& file) { file.chunks.push_back({}); });
}

TEST_F(HostileTest, Footers) {
  const std::string metadata = SerializeMetadata(file_);
  for (const FooterLies& lies :
       {FooterLies{1, 0, {}}, FooterLies{1, -1, {}}, FooterLies{0, 1, {}},
        FooterLies{-static_cast<int64_t>(payload_end_), 0, {}},
        FooterLies{0, 0, metadata.size() + 1}, FooterLies{0, 0, metadata.size() - 1},
        FooterLies{0, 0, 0}, FooterLies{0, 0, limits::kMaxWdeltaMetadataBytes + 1},
        FooterLies{0, 0, ~uint64_t{0}}}) {
    const absl::Status status = OpenBytes(Assemble(bytes_, payload_end_, metadata, lies)).status();
    EXPECT_EQ(ErrorReason(status), "BAD_WDELTA") << status;
  }
}

// Whether it says so or not, a frame that expands to more than the footer declares is refused,
// and expanded no further than that.
TEST_F(HostileTest, MetadataThatExpandsPastItsDeclaredSize) {
  const std::string bomb(64 * limits::kMiB, '\0');
  for (const bool says_size : {true, false}) {
    const std::string stored = Compress(bomb, says_size);
    ASSERT_LT(stored.size(), bomb.size() / 1000);
    for (const uint64_t declared : {uint64_t{0}, uint64_t{1000}, uint64_t{bomb.size() - 1}}) {
      const absl::Status status =
          OpenBytes(AssembleStored(bytes_, payload_end_, stored, declared)).status();
      EXPECT_EQ(ErrorReason(status), "BAD_WDELTA") << status;
    }
  }
}

TEST_F(HostileTest, EveryTruncationOfTheMetadata) {
  const std::string metadata = SerializeMetadata(file_);
  for (size_t size = 0; size < metadata.size(); ++size) {
    const absl::Status status =
        OpenBytes(Assemble(bytes_, payload_end_, metadata.substr(0, size))).status();
    EXPECT_EQ(ErrorReason(status), "BAD_WDELTA") << size << ": " << status;
  }
}

// With the checksums made right again, a flip must still never crash or be decoded
// into other bytes than the checksums of the content promise.
TEST_F(HostileTest, EveryFlipInTheMetadata) {
  const SampleModel parent = MakeSampleParent();
  const std::string metadata = SerializeMetadata(file_);
  for (size_t at = 0; at < metadata.size(); ++at) {
    for (const int flip : {0x01, 0x02, 0x40, 0x80, 0xff}) {
      std::string changed = metadata;
      changed[at] = static_cast<char>(changed[at] ^ flip);
      const auto reader = OpenBytes(Assemble(bytes_, payload_end_, changed));
      if (!reader.ok()) {
        EXPECT_FALSE(ErrorReason(reader.status()).empty()) << at << ": " << reader.status();
        continue;
      }
      const auto contents = DecodeStreams(**reader, &parent);
      if (contents.ok()) {
        EXPECT_EQ(*contents, MakeSampleChild().contents) << at;
      }
    }
  }
}

TEST_F(HostileTest, UnknownSections) {
  const std::string metadata = SerializeMetadata(file_);
  const auto open = [&](const std::string& bytes) {
    return OpenBytes(Assemble(bytes_, payload_end_, bytes)).status();
  };
  EXPECT_TRUE(open(metadata + std::string("\xc8\x02hi", 4)).ok()) << "may be ignored";
  EXPECT_EQ(open(metadata + std::string("\x09\x02hi", 4)).code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(ErrorReason(open(metadata + '\xc8')), "BAD_WDELTA");
  EXPECT_EQ(ErrorReason(open(metadata.substr(1))), "BAD_WDELTA");
}

TEST_F(HostileTest, UnknownValuesAreOfALaterVersion) {
  WdeltaFile file = file_;
  file.chunks[0].mode = static_cast<ChunkMode>(77);
  EXPECT_EQ(OpenWith(file).code(), absl::StatusCode::kUnimplemented);
  file = file_;
  file.streams[0].info.kind = static_cast<StreamKind>(9);
  EXPECT_EQ(OpenWith(file).code(), absl::StatusCode::kUnimplemented);
}

TEST_F(HostileTest, PayloadOfAnotherModeIsRefusedWhenDecoded) {
  WdeltaFile file = file_;
  const WdeltaStream& noise = file.streams[StreamNamed("noise")];
  ASSERT_EQ(file.chunks[noise.first_chunk].mode, ChunkMode::kRaw);
  file.chunks[noise.first_chunk].mode = ChunkMode::kPlanes;
  const auto reader = OpenBytes(Assemble(bytes_, payload_end_, SerializeMetadata(file)));
  ASSERT_TRUE(reader.ok()) << reader.status();
  ChunkCodec codec;
  char out[kSampleChunkBytes];
  const absl::Status status = (*reader)->DecodeChunk(
      codec, static_cast<uint32_t>(StreamNamed("noise")), 0, std::nullopt, out);
  EXPECT_EQ(ErrorReason(status), "BAD_WDELTA") << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("(`noise`) chunk 0"));
}

}  // namespace
}  // namespace wdelta
