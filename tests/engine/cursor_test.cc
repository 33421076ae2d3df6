// The cursor: order, window, and when it lets go of what it reads.
#include "storage/engine/content/cursor.h"

#include <atomic>

#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"
#include "storage/base/checksum.h"
#include "storage/base/limits.h"

namespace wdelta {
namespace {

constexpr uint64_t kPieces = 12;
constexpr uint64_t kSizeBytes = kPieces * limits::kFetchPieceBytes;
constexpr int kWindow = 3;

char ByteAt(uint64_t offset) { return static_cast<char>(offset / limits::kFetchPieceBytes + 1); }

std::shared_ptr<PieceBuffers> NewBuffers() { return std::make_shared<PieceBuffers>(2); }

// One stream. Reading at or behind `fails_at` is an error.
class PatternSource final : public ContentSource {
 public:
  explicit PatternSource(uint64_t fails_at = kSizeBytes) : fails_at_(fails_at) {}
  const Checkpoint& checkpoint() const override { return checkpoint_; }
  absl::Status Read(uint32_t, uint64_t offset, size_t size, char* destination) const override {
    ++reads;
    if (gate != nullptr) gate->WaitForNotification();
    if (offset >= fails_at_) return absl::DataLossError("damaged");
    std::fill_n(destination, size, ByteAt(offset));
    return absl::OkStatus();
  }
  std::optional<Digest> StreamDigest(uint32_t) const override { return std::nullopt; }

  absl::Notification* gate = nullptr;
  mutable std::atomic<int> reads{0};

 private:
  const uint64_t fails_at_;
  const Checkpoint checkpoint_;
};

TEST(CursorTest, YieldsPiecesInOrderWithTheirChecksums) {
  ThreadPool pool(4);
  const auto cursor = Cursor::Create(std::make_shared<PatternSource>(), {{0, 0, kSizeBytes}}, &pool,
                                     kWindow, NewBuffers());
  for (uint64_t i = 0; i < kPieces; ++i) {
    const auto piece = cursor->Next();
    ASSERT_TRUE(piece.ok() && piece->has_value()) << i;
    EXPECT_EQ((*piece)->data, std::string(limits::kFetchPieceBytes, static_cast<char>(i + 1)));
    EXPECT_EQ((*piece)->crc32c, Crc32c((*piece)->data));
  }
  EXPECT_FALSE(cursor->Next()->has_value());
  EXPECT_FALSE(cursor->Next()->has_value());
}

TEST(CursorTest, NeedsNoThreadButItsReaders) {
  ThreadPool pool(0);
  const auto source = std::make_shared<PatternSource>();
  const auto cursor = Cursor::Create(source, {{0, 0, kSizeBytes}}, &pool, kWindow, NewBuffers());
  for (uint64_t i = 0; i < kPieces; ++i) {
    const auto step = cursor->TryNext();
    ASSERT_TRUE(step.ok());
    ASSERT_EQ(step->progress, Cursor::Progress::kPiece) << i;
    EXPECT_EQ(step->piece.data, std::string(limits::kFetchPieceBytes, static_cast<char>(i + 1)));
  }
  EXPECT_EQ(cursor->TryNext()->progress, Cursor::Progress::kEnd);
  EXPECT_EQ(source.use_count(), 1);
}

// Whoever has the last piece may delete the model at once: no task of the pool still
// holds the source, however late that task's thread gets the processor back.
TEST(CursorTest, LetsGoOfItsSourceWithTheLastPiece) {
  ThreadPool pool(4);
  for (int round = 0; round < 200; ++round) {
    const auto source = std::make_shared<PatternSource>();
    const auto cursor = Cursor::Create(source, {{0, 0, 2 * limits::kFetchPieceBytes + 1}}, &pool,
                                       kWindow, NewBuffers());
    for (int i = 0; i < 3; ++i) ASSERT_TRUE((*cursor->Next()).has_value());
    ASSERT_EQ(source.use_count(), 1) << "round " << round;
  }
}

TEST(CursorTest, HoldsNoSourceWhenThereIsNothingToRead) {
  ThreadPool pool(1);
  const auto source = std::make_shared<PatternSource>();
  const auto cursor =
      Cursor::Create(source, std::vector<StreamRange>(), &pool, kWindow, NewBuffers());
  EXPECT_EQ(source.use_count(), 1);
  EXPECT_FALSE(cursor->Next()->has_value());
}

TEST(CursorTest, AnErrorComesInItsPlaceAndEndsTheStream) {
  std::shared_ptr<PatternSource> source =
      std::make_shared<PatternSource>(2 * limits::kFetchPieceBytes);
  const std::weak_ptr<PatternSource> watched = source;
  {
    ThreadPool pool(4);
    const auto cursor =
        Cursor::Create(std::move(source), {{0, 0, kSizeBytes}}, &pool, kWindow, NewBuffers());
    EXPECT_TRUE(cursor->Next()->has_value());
    EXPECT_TRUE(cursor->Next()->has_value());
    EXPECT_TRUE(absl::IsDataLoss(cursor->Next().status()));
    EXPECT_FALSE(cursor->Next()->has_value());
  }
  EXPECT_TRUE(watched.expired());
}

TEST(CursorTest, DecodesAtMostAWindowAheadAndNothingAfterCancel) {
  absl::Notification gate;
  const auto source = std::make_shared<PatternSource>();
  source->gate = &gate;
  {
    ThreadPool pool(1);
    const auto cursor = Cursor::Create(source, {{0, 0, kSizeBytes}}, &pool, kWindow, NewBuffers());
    EXPECT_EQ(cursor->TryNext()->progress, Cursor::Progress::kWait);
    cursor->Cancel();
    EXPECT_EQ(cursor->TryNext()->progress, Cursor::Progress::kEnd);
    gate.Notify();
  }  // the pool has drained
  // The one piece that was being decoded, if its task had begun, in reads of a chunk
  // or more.
  EXPECT_LE(source->reads, 1);
  EXPECT_EQ(source.use_count(), 1);
}

TEST(CursorTest, WakesOnceForEveryWait) {
  absl::Notification gate;
  const auto source = std::make_shared<PatternSource>();
  source->gate = &gate;
  std::atomic<int> wakes{0};
  absl::Notification woken;
  ThreadPool pool(1);
  const auto cursor = Cursor::Create(source, {{0, 0, kSizeBytes}}, &pool, kWindow, NewBuffers());
  cursor->SetWaker([&] {
    if (++wakes == 1) woken.Notify();
  });
  ASSERT_EQ(cursor->TryNext()->progress, Cursor::Progress::kWait);
  gate.Notify();
  woken.WaitForNotification();
  EXPECT_EQ(cursor->TryNext()->progress, Cursor::Progress::kPiece);
  EXPECT_EQ(wakes, 1);
}

}  // namespace
}  // namespace wdelta
