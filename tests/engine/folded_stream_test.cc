// A delta that is folded in one thread and taken in another.
#include "storage/engine/delta_fetch/folded_stream.h"

#include <string>
#include <thread>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "storage/base/checksum.h"
#include "storage/base/error.h"
#include "tests/engine/delta_route_fixture.h"

namespace wdelta::testing {
namespace {

class FoldedStreamTest : public DeltaRouteTest {
 protected:
  // All that comes; the last status.
  absl::Status Take(FoldedStream& stream, std::string& bytes) {
    stream.SetWaker([this] {
      absl::MutexLock lock(&mutex_);
      is_woken_ = true;
    });
    while (true) {
      const absl::StatusOr<Cursor::Step> step = stream.TryNext();
      if (!step.ok()) return step.status();
      if (step->progress == Cursor::Progress::kEnd) return absl::OkStatus();
      if (step->progress == Cursor::Progress::kPiece) {
        EXPECT_EQ(step->piece.crc32c, Crc32c(step->piece.data));
        bytes += step->piece.data;
        continue;
      }
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(&is_woken_));
      is_woken_ = false;
    }
  }

  // Of more bytes than wait to be taken.
  DeltaStep LargeStep() {
    Push("big", FilesOf({RandomWeights("w", {2048, 2048}, 7)}));
    Push("other", FilesOf({RandomWeights("w", {2048, 2048}, 8)}));
    DeltaStep step;
    step.model = RecordOf("big");
    step.target = *Open("big");
    step.parent = *Open("other");
    return step;
  }

  // The encoder's thread may be about to leave them when all has been taken.
  absl::Mutex mutex_;
  bool is_woken_ = false;
};

TEST_F(FoldedStreamTest, GivesTheRestOfTheSameBytes) {
  PushTunedChain();
  const DeltaStep step = Plan("m3", {"base"})->front();
  ASSERT_TRUE(step.is_folded());
  const std::string expected = *BytesOf(step);
  for (const uint64_t skip :
       {uint64_t{0}, uint64_t{1}, uint64_t{expected.size() / 2}, uint64_t{expected.size()}}) {
    FoldedStream stream(step, skip, &store_->codec_pool(), absl::InfiniteDuration());
    std::thread encoder([&] { stream.Run(); });
    std::string bytes;
    EXPECT_TRUE(Take(stream, bytes).ok());
    encoder.join();
    EXPECT_TRUE(bytes == expected.substr(skip)) << skip;
    EXPECT_EQ(stream.sha256(), Digest::Of(expected));
  }
  FoldedStream stream(step, expected.size() + 1, &store_->codec_pool(), absl::InfiniteDuration());
  stream.Run();
  std::string bytes;
  EXPECT_EQ(ErrorReason(Take(stream, bytes)), "OFFSET_PAST_END");
}

TEST_F(FoldedStreamTest, ATakerThatTakesNothingIsGivenUp) {
  FoldedStream stream(LargeStep(), 0, &store_->codec_pool(), absl::Milliseconds(50));
  int wakes = 0;
  stream.SetWaker([&] { ++wakes; });
  EXPECT_TRUE(stream.CheckTaker().ok());
  stream.Run();
  EXPECT_EQ(wakes, 1) << "nobody waited, but is told";
  EXPECT_EQ(ErrorReason(stream.CheckTaker()), "SLOW_READER");
  const absl::Status status = stream.TryNext().status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_EQ(ErrorReason(status), "SLOW_READER");
}

TEST_F(FoldedStreamTest, CancelEndsAnEncoderThatWaitsToBeRead) {
  FoldedStream stream(LargeStep(), 0, &store_->codec_pool(), absl::InfiniteDuration());
  std::thread encoder([&] { stream.Run(); });
  absl::StatusOr<Cursor::Step> first = stream.TryNext();
  while (first.ok() && first->progress == Cursor::Progress::kWait) first = stream.TryNext();
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->progress, Cursor::Progress::kPiece);
  stream.Cancel();
  encoder.join();
  EXPECT_EQ(stream.TryNext()->progress, Cursor::Progress::kEnd);
}

}  // namespace
}  // namespace wdelta::testing
