// What is looked at ahead of the stream that is encoded, and how that ends.
#include "storage/engine/encoding/low_rank/rank_tests.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"
#include "storage/base/limits.h"
#include "storage/base/thread_pool.h"
#include "storage/engine/encoding/chunk_encoder.h"
#include "tests/engine/memory_models.h"

namespace wdelta::testing {
namespace {

class RankTestsTest : public ::testing::Test {
 protected:
  // Stream 0 is the header, then come tensors whose difference to their parents has a low rank.
  void Make(int count, uint64_t rows, uint64_t columns) {
    std::vector<TestTensor> base, merged;
    for (int i = 0; i < count; ++i) {
      base.push_back(Weights(DType::kBF16, rows, columns, 1));
      base.back().name = absl::StrCat("w", i);
      merged.push_back(Merged(base.back(), 3, 6e-4f, DType::kBF16));
    }
    input_ = Input(merged, base);
    input_.effort = Effort::kMax;
    auto target = std::make_shared<MemorySource>(merged);
    target->before_read = [this](uint32_t stream) { NoteRead(stream); };
    input_.target = target;
    chunks_ = std::make_unique<ChunkEncoder>(input_);
  }

  void NoteRead(uint32_t stream) {
    {
      absl::MutexLock lock(&mutex_);
      last_read_ = std::max(last_read_, stream);
    }
    if (to_stop_ != nullptr) to_stop_->Stop();
  }
  uint32_t last_read() {
    absl::MutexLock lock(&mutex_);
    return last_read_;
  }

  DeltaEncoderInput input_;
  std::unique_ptr<ChunkEncoder> chunks_;
  RankTests* to_stop_ = nullptr;  // by the first read; null: none

 private:
  absl::Mutex mutex_;
  uint32_t last_read_ ABSL_GUARDED_BY(mutex_) = 0;
};

TEST_F(RankTestsTest, WhatIsAheadIsBoundedByItsBytes) {
  Make(10, 1024, 512);
  ASSERT_EQ(input_.target->checkpoint().streams[1].tensor.size_bytes, limits::kMaxHeldBytes);
  const auto most_ahead = static_cast<uint32_t>(limits::kMaxBytesAhead / limits::kMaxHeldBytes);
  ThreadPool pool(8);
  RankTests tests(input_, *chunks_, &pool);
  for (uint32_t stream = 0; stream <= 10; ++stream) {
    const absl::StatusOr<RankTests::Outcome> outcome = tests.Take(stream);
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    EXPECT_EQ(outcome->correction != nullptr, stream > 0) << stream;
    EXPECT_FALSE(outcome->matrix.has_value()) << stream;
    EXPECT_LE(last_read(), stream + most_ahead) << stream;
  }
}

// They are told by several chunks, and looked at only.
TEST_F(RankTestsTest, LargeOnesAreNotHeld) {
  Make(2, 600, 5000);
  ThreadPool pool(2);
  RankTests tests(input_, *chunks_, &pool);
  for (uint32_t stream = 0; stream <= 2; ++stream) {
    const absl::StatusOr<RankTests::Outcome> outcome = tests.Take(stream);
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    EXPECT_EQ(outcome->matrix.has_value(), stream > 0) << stream;
    EXPECT_EQ(outcome->chunks, nullptr) << stream;
  }
}

TEST_F(RankTestsTest, WhatCanHaveNoRankIsNotRead) {
  Make(3, 63, 2000);
  ThreadPool pool(2);
  RankTests tests(input_, *chunks_, &pool);
  for (uint32_t stream = 0; stream <= 3; ++stream) {
    const absl::StatusOr<RankTests::Outcome> outcome = tests.Take(stream);
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    EXPECT_FALSE(outcome->matrix.has_value());
    EXPECT_EQ(outcome->correction, nullptr);
    EXPECT_EQ(outcome->chunks, nullptr);
  }
  EXPECT_EQ(last_read(), 0u);
}

// Both those that run, which have read a low rank by then, and those that wait.
TEST_F(RankTestsTest, StoppedOnesEnd) {
  Make(6, 512, 512);
  ThreadPool pool(2);
  RankTests tests(input_, *chunks_, &pool);
  to_stop_ = &tests;
  ASSERT_TRUE(tests.Take(0).ok());
  for (uint32_t stream = 1; stream <= 6; ++stream) {
    const absl::Status status = tests.Take(stream).status();
    EXPECT_TRUE(absl::IsCancelled(status)) << status;
  }
  EXPECT_LE(last_read(), 2u);
}

// An encoder that ends early waits for none of what it no longer needs.
TEST_F(RankTestsTest, AnEncoderThatEndsEarlyBreaksThemOff) {
  Make(12, 512, 512);
  input_.advance = [](uint64_t) { return absl::CancelledError("not any more"); };
  ThreadPool pool(2);
  const absl::Status status =
      EncodeDelta(input_, &pool, [](absl::string_view) { return absl::OkStatus(); }).status();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  // Those of a window of chunks, and of the tests ahead of it.
  EXPECT_LE(last_read(), 7u);
}

}  // namespace
}  // namespace wdelta::testing
