// Slices as they are read from a model: right, each chunk once, and no chunk beside.
#include "storage/engine/content/slice_pieces.h"

#include <map>
#include <random>
#include <set>

#include "absl/synchronization/mutex.h"
#include "gmock/gmock.h"
#include "storage/base/limits.h"
#include "storage/wdelta/wdelta_reader.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/test_seed.h"

namespace wdelta {
namespace {

using testing::BuildSafetensors;
using ::testing::Each;
using testing::Files;
using testing::TestTensor;

// One stream in memory, of chunks that it counts the reads of.
class CountingSource final : public ContentSource {
 public:
  CountingSource(std::string bytes, uint64_t chunk_bytes)
      : bytes_(std::move(bytes)), chunk_bytes_(chunk_bytes) {}
  const Checkpoint& checkpoint() const override { return checkpoint_; }
  absl::Status Read(uint32_t, uint64_t offset, size_t size, char* destination) const override {
    if (size == 0 || offset + size > bytes_.size()) return absl::InternalError("not in the stream");
    for (uint64_t chunk = offset / chunk_bytes_; chunk <= (offset + size - 1) / chunk_bytes_;
         ++chunk) {
      ++reads[chunk];
    }
    bytes_.copy(destination, size, offset);
    return absl::OkStatus();
  }
  std::optional<Digest> StreamDigest(uint32_t) const override { return std::nullopt; }

  mutable std::map<uint64_t, int> reads;  // by chunk

 private:
  const std::string bytes_;
  const uint64_t chunk_bytes_;
  const Checkpoint checkpoint_;
};

std::string Noise(size_t size, std::mt19937& random) {
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

// The slice's bytes, one by one.
std::string SliceByByte(const TensorSlice& slice, const std::string& bytes, uint64_t offset = 0) {
  std::string part;
  for (; offset < slice.size_bytes(); ++offset) part += bytes[slice.PlaceOf(offset)];
  return part;
}

TEST(SlicePiecesTest, AreTheSliceAndReadEachChunkOnce) {
  const uint32_t seed = testing::TestSeed();
  SCOPED_TRACE(testing::SeedTrace(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 400; ++round) {
    TensorInfo tensor{"t", DType::kBF16, {}};
    const size_t rank = 1 + random() % 4;
    for (size_t i = 0; i < rank; ++i) tensor.shape.push_back(1 + random() % 9);
    AxisSlice part{static_cast<uint32_t>(random() % rank), 0, 0};
    const uint64_t length = tensor.shape[part.axis];
    part.start = random() % length;
    part.stop = part.start + 1 + random() % (length - part.start);
    const TensorSlice slice = *TensorSlice::Make(tensor, part);
    const std::string bytes = Noise(*TensorBytes(tensor.dtype, tensor.shape), random);
    const uint64_t chunk_bytes = 1 + random() % 70;
    const uint64_t offset = round % 2 == 0 ? 0 : random() % (slice.size_bytes() + 1);
    const CountingSource source(bytes, chunk_bytes);
    const SlicePieces pieces(0, slice, offset, chunk_bytes);
    std::string read;
    for (size_t i = 0; i < pieces.piece_count(); ++i) {
      std::string piece;
      ASSERT_TRUE(pieces.Read(source, i, piece).ok());
      ASSERT_FALSE(piece.empty());
      read += piece;
    }
    ASSERT_TRUE(read == SliceByByte(slice, bytes, offset)) << "round " << round;
    std::map<uint64_t, int> touched;
    for (uint64_t at = offset; at < slice.size_bytes(); ++at) {
      touched[slice.PlaceOf(at) / chunk_bytes] = 1;
    }
    ASSERT_EQ(source.reads, touched) << "round " << round;
  }
}

TEST(SlicePiecesTest, AreBoundedInBytesAndInChunks) {
  constexpr uint64_t kChunk = limits::kChunkBytes;
  // Nearly all of each chunk: bounded by bytes.
  const TensorInfo wide{"w", DType::kU8, {64, kChunk}};
  const SlicePieces by_bytes(0, *TensorSlice::Make(wide, {1, 1, kChunk}), 0, kChunk);
  EXPECT_EQ(by_bytes.piece_count(), 32u);
  // A byte of each: bounded by chunks.
  const SlicePieces by_chunks(0, *TensorSlice::Make(wide, {1, 7, 8}), 0, kChunk);
  EXPECT_EQ(by_chunks.piece_count(), 64 / limits::kMaxChunksOfSlicePiece);
  // Chunks larger than a piece.
  const TensorInfo large{"l", DType::kU8, {2, 8 * kChunk}};
  const SlicePieces of_large(0, *TensorSlice::Make(large, {1, 1, 8 * kChunk}), 0, 8 * kChunk);
  EXPECT_EQ(of_large.piece_count(), 8u);
  std::mt19937 random(1);
  const std::string bytes = Noise(16 * kChunk, random);
  const CountingSource source(bytes, 8 * kChunk);
  std::string read;
  for (size_t i = 0; i < of_large.piece_count(); ++i) {
    std::string piece;
    ASSERT_TRUE(of_large.Read(source, i, piece).ok());
    EXPECT_LE(piece.size(), limits::kFetchPieceBytes);
    read += piece;
  }
  EXPECT_TRUE(read == bytes.substr(1, 8 * kChunk - 1) + bytes.substr(8 * kChunk + 1));
}

// A `.wdelta` that tells where it was read.
class WatchedFile final : public RandomAccessFile {
 public:
  explicit WatchedFile(std::shared_ptr<const RandomAccessFile> file) : file_(std::move(file)) {}
  absl::Status Read(uint64_t offset, char* destination, size_t size) const override {
    absl::MutexLock lock(&mutex_);
    ++reads_[offset];
    return file_->Read(offset, destination, size);
  }
  absl::StatusOr<uint64_t> SizeBytes() const override { return file_->SizeBytes(); }
  std::map<uint64_t, int> Taken() const {
    absl::MutexLock lock(&mutex_);
    return std::exchange(reads_, {});
  }

 private:
  const std::shared_ptr<const RandomAccessFile> file_;
  mutable absl::Mutex mutex_;
  mutable std::map<uint64_t, int> reads_ ABSL_GUARDED_BY(mutex_);  // by offset
};

class StoredSliceTest : public testing::EngineTest {
 protected:
  // `w` has 5 MiB in ten chunks, four rows of it in each.
  static constexpr uint64_t kRows = 40;
  static constexpr uint64_t kColumns = 65536;
  static constexpr uint32_t kStream = 1;  // behind the header

  StoredSliceTest() {
    EXPECT_TRUE(Upload("base", FilesOf(base_)).ok());
    RunJobs();
    EXPECT_TRUE(Upload("tuned", FilesOf(tuned_), {"base"}).ok());
    RunJobs();
  }

  static Files FilesOf(const TestTensor& tensor) {
    return {{"model.safetensors", BuildSafetensors({tensor})}};
  }
  TensorSlice SliceOf(const AxisSlice& part) const {
    return *TensorSlice::Make({"w", DType::kBF16, {kRows, kColumns}}, part);
  }

  absl::StatusOr<std::string> ReadSlice(const ContentSourcePtr& source, const TensorSlice& slice,
                                        uint64_t offset = 0) {
    const auto cursor = store_->reader().NewSliceCursor(source, kStream, slice, offset);
    std::string bytes;
    while (true) {
      WDELTA_ASSIGN_OR_RETURN(const auto piece, cursor->Next());
      if (!piece.has_value()) return bytes;
      bytes += piece->data;
    }
  }

  const TestTensor base_ = testing::RandomWeights("w", {kRows, kColumns}, 1);
  const TestTensor tuned_ = testing::FineTuned(base_, 7);
};

TEST_F(StoredSliceTest, OnlyChunksThatItTouchesAreDecodedEachOnce) {
  const store::v1::ModelRecord record = RecordOf("tuned");
  ASSERT_EQ(record.storage_parent_id(), RecordOf("base").id());
  const auto file = std::make_shared<const WatchedFile>(store_->reader().OpenDelta(record));
  const absl::StatusOr<ContentSourcePtr> source =
      store_->reader().OpenWdelta(file, record.storage_parent_id());
  ASSERT_TRUE(source.ok()) << source.status();
  const WdeltaFile& stored = (*source)->stored()->file();
  const WdeltaStream& stream = stored.streams[kStream];
  ASSERT_EQ(stream.chunk_count, 10u);
  struct Row {
    AxisSlice part;
    uint64_t offset = 0;
    std::vector<uint64_t> chunks;
  };
  const std::vector<uint64_t> all = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  for (const Row& row :
       {Row{{0, 8, 12}, 0, {2}}, Row{{0, 11, 13}, 0, {2, 3}}, Row{{1, 100, 200}, 0, all},
        Row{{1, 1, kColumns}, 0, all},
        // 200 bytes of each row: what is left begins in the sixth chunk.
        Row{{1, 100, 200}, 200 * 20 + 1, {5, 6, 7, 8, 9}}, Row{{1, 100, 200}, 200 * kRows, {}}}) {
    SCOPED_TRACE(absl::StrCat("axis ", row.part.axis, " from ", row.part.start, ", ", row.offset));
    file->Taken();
    const TensorSlice slice = SliceOf(row.part);
    const absl::StatusOr<std::string> bytes = ReadSlice(*source, slice, row.offset);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    EXPECT_TRUE(*bytes == SliceByByte(slice, tuned_.data, row.offset));
    std::map<uint64_t, int> expected;
    for (const uint64_t chunk : row.chunks) {
      const WdeltaChunk& at = stored.chunks[stream.first_chunk + chunk];
      if (at.payload_bytes > 0) expected[at.payload_offset] = 1;
    }
    EXPECT_EQ(file->Taken(), expected);
  }
}

TEST_F(StoredSliceTest, DamageElsewhereDoesNotMatter) {
  const store::v1::ModelRecord record = RecordOf("tuned");
  const absl::StatusOr<ContentSourcePtr> source = Open("tuned");
  ASSERT_TRUE(source.ok()) << source.status();
  const WdeltaFile& stored = (*source)->stored()->file();
  const WdeltaChunk& chunk = stored.chunks[stored.streams[kStream].first_chunk + 3];
  DamageDelta(record, chunk.payload_offset + chunk.payload_bytes / 2);
  EXPECT_TRUE(ReadSlice(*source, SliceOf({0, 0, 12})).ok());
  EXPECT_TRUE(ReadSlice(*source, SliceOf({0, 16, kRows})).ok());
  const absl::Status status = ReadSlice(*source, SliceOf({1, 0, 1})).status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_NE(status.message().find("chunk 3"), std::string::npos) << status;
}

TEST_F(StoredSliceTest, IsTheSameBeforeTheModelIsStored) {
  ASSERT_TRUE(Upload("staged", FilesOf(tuned_), {"base"}).ok());
  for (const AxisSlice& part : {AxisSlice{0, 3, 33}, AxisSlice{1, 65000, 65001}}) {
    const TensorSlice slice = SliceOf(part);
    const absl::StatusOr<std::string> bytes = ReadSlice(*Open("staged"), slice);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    EXPECT_TRUE(*bytes == SliceByByte(slice, tuned_.data));
  }
}

}  // namespace
}  // namespace wdelta
