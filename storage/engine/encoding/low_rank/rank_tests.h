// Looks at the streams of a delta that is being encoded, a few streams ahead, for those that may
// have a correction, and chooses that of small ones.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "storage/base/thread_pool.h"
#include "storage/engine/encoding/chunk_encoder.h"
#include "storage/engine/encoding/delta_encoder.h"
#include "storage/engine/encoding/low_rank/delta_matrix.h"

namespace wdelta {

// One thread at a time, which must not be one of the pool's.
class RankTests {
 public:
  // The arguments must outlive it.
  RankTests(const DeltaEncoderInput& input, ChunkEncoder& chunks, ThreadPool* pool)
      : input_(input), chunks_(chunks), pool_(pool) {}
  // Breaks off what is not ended.
  ~RankTests() {
    Stop();
    for (const auto& test : tests_) test->done.WaitForNotification();
  }

  struct Outcome {
    // Whose correction is to be chosen; nullopt: it is chosen already.
    std::optional<DeltaMatrix> matrix;
    CorrectionPtr correction;  // null: none
    // Those from the first on that were read, each to be taken once. Null: none.
    std::shared_ptr<std::vector<ReadChunk>> chunks;
  };

  // Of a stream, for all in ascending order from 0 on. Begins the tests of the next streams, which
  // run in the pool while this one is encoded: no more than there are threads, and none once those
  // that may have a rank take limits::kMaxBytesAhead, of each at most limits::kMaxHeldBytes. That
  // much of each is in memory, as much of its parent, and while it runs their difference as floats.
  absl::StatusOr<Outcome> Take(uint32_t stream);

  // Tests that are not ended end soon, with CANCELLED. Any thread may call it.
  void Stop() { is_stopped_ = true; }

 private:
  struct Test {
    uint64_t bytes_ahead = 0;  // that it may hold
    Outcome outcome;
    // Set by the pool before `done`.
    absl::Status status;
    absl::Notification done;
  };

  void Begin(uint32_t stream);
  absl::Status GoOn() const;
  absl::Status Run(uint32_t stream, Outcome& outcome) const;
  // Chooses the correction of a matrix that is held.
  absl::Status Choose(std::vector<ReadChunk> chunks, Outcome& outcome) const;

  const DeltaEncoderInput& input_;
  ChunkEncoder& chunks_;
  ThreadPool* const pool_;
  uint32_t next_stream_ = 0;  // whose test is not begun
  uint64_t bytes_ahead_ = 0;  // of tests_
  std::deque<std::shared_ptr<Test>> tests_;
  std::atomic<bool> is_stopped_ = false;
};

}  // namespace wdelta
