#include "client/cpp/backoff.h"

#include <limits>

#include "gtest/gtest.h"

namespace wdelta {
namespace {

TEST(BackoffTest, DoublesUpToABound) {
  const absl::Duration initial = absl::Milliseconds(200);
  EXPECT_EQ(BackoffPause(initial, 1, 1), absl::Milliseconds(200));
  EXPECT_EQ(BackoffPause(initial, 2, 1), absl::Milliseconds(400));
  EXPECT_EQ(BackoffPause(initial, 5, 1), absl::Milliseconds(3200));
  for (const int failures : {6, 31, 32, 33, 64, 1000, std::numeric_limits<int>::max()}) {
    EXPECT_EQ(BackoffPause(initial, failures, 1), kMaxBackoff) << failures;
  }
  EXPECT_EQ(BackoffPause(absl::Hours(1), 1, 1), kMaxBackoff);
  EXPECT_EQ(BackoffPause(absl::ZeroDuration(), 40, 1), absl::ZeroDuration());
}

TEST(BackoffTest, JitterTakesAtMostTheHalf) {
  const absl::Duration initial = absl::Milliseconds(200);
  EXPECT_EQ(BackoffPause(initial, 1, 0), absl::Milliseconds(100));
  EXPECT_EQ(BackoffPause(initial, 1, 0.5), absl::Milliseconds(150));
  EXPECT_EQ(BackoffPause(initial, 100, 0), kMaxBackoff / 2);
}

TEST(BackoffTest, CountsFailuresInARow) {
  Backoff backoff(absl::Seconds(1));
  for (int i = 1; i <= 100; ++i) {
    const absl::Duration pause = backoff.Next();
    EXPECT_EQ(backoff.failures(), i);
    EXPECT_GE(pause, BackoffPause(absl::Seconds(1), i, 0));
    EXPECT_LE(pause, BackoffPause(absl::Seconds(1), i, 1));
  }
  backoff.Reset();
  EXPECT_EQ(backoff.failures(), 0);
  EXPECT_LE(backoff.Next(), absl::Seconds(1));
}

}  // namespace
}  // namespace wdelta
