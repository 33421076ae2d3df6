// A stored `.wdelta` on its way out: each payload is read once.
#include "storage/engine/delta_fetch/checked_delta.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"
#include "storage/base/limits.h"
#include "storage/engine/content/cursor.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta::testing {
namespace {

// Counts the bytes that are read of it.
class CountedFile final : public RandomAccessFile {
 public:
  explicit CountedFile(std::shared_ptr<const RandomAccessFile> file) : file_(std::move(file)) {}
  absl::Status Read(uint64_t offset, char* destination, size_t size) const override {
    absl::MutexLock lock(&mutex_);
    read_bytes_ += size;
    return file_->Read(offset, destination, size);
  }
  absl::StatusOr<uint64_t> SizeBytes() const override { return file_->SizeBytes(); }
  uint64_t TakeReadBytes() const {
    absl::MutexLock lock(&mutex_);
    return std::exchange(read_bytes_, 0);
  }

 private:
  const std::shared_ptr<const RandomAccessFile> file_;
  mutable absl::Mutex mutex_;
  mutable uint64_t read_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

TEST_F(EngineTest, PiecesOfAStoredDeltaReadEachPayloadOnce) {
  ASSERT_TRUE(
      Upload("m", {{"model.safetensors", BuildSafetensors({RandomWeights("a", {1500, 1024}, 1),
                                                           RandomWeights("b", {1000, 1024}, 2)})}})
          .ok());
  RunJobs();
  const store::v1::ModelRecord record = RecordOf("m");
  const auto file = std::make_shared<const CountedFile>(store_->reader().OpenDelta(record));
  const uint64_t size_bytes = *file->SizeBytes();
  ASSERT_GT(size_bytes, 3 * limits::kFetchPieceBytes);
  std::string whole(size_bytes, 0);
  ASSERT_TRUE(file->Read(0, whole.data(), whole.size()).ok());
  const auto delta = *CheckedDelta::Open("model 'm'", file);

  const auto read_from = [&](uint64_t offset) {
    const auto cursor =
        store_->reader().NewFileCursor(delta, size_bytes, delta->PiecesFrom(offset));
    std::string bytes;
    while (true) {
      const auto piece = cursor->Next();
      EXPECT_TRUE(piece.ok()) << piece.status();
      if (!piece.ok() || !piece->has_value()) return bytes;
      EXPECT_FALSE((*piece)->data.empty());
      EXPECT_LE((*piece)->data.size(), limits::kFetchPieceBytes);
      bytes += (*piece)->data;
    }
  };
  file->TakeReadBytes();
  EXPECT_TRUE(read_from(0) == whole);
  EXPECT_EQ(file->TakeReadBytes(), size_bytes);
  // Only the payload in which it begins is read beside what is sent.
  for (const uint64_t offset :
       {uint64_t{1}, limits::kFetchPieceBytes + 77, size_bytes - 1, size_bytes}) {
    EXPECT_TRUE(read_from(offset) == whole.substr(offset)) << offset;
    EXPECT_LE(file->TakeReadBytes(), size_bytes - offset + limits::kMaxChunkBytes) << offset;
  }
}

}  // namespace
}  // namespace wdelta::testing
