// Looks at the streams of a delta that is being encoded, one stream ahead, for those that may have
// a correction.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

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
  RankTests(const DeltaEncoderInput& input, const ChunkEncoder& chunks, ThreadPool* pool)
      : input_(input), chunks_(chunks), pool_(pool) {}
  ~RankTests() { WaitForNext(); }

  struct Outcome {
    std::optional<DeltaMatrix> matrix;  // nullopt: the stream has no correction
    // One chunk is the whole stream: it is looked at when it is encoded.
    bool is_left_to_chunk = false;
    std::shared_ptr<ReadChunk> first_chunk;  // where the test read it; to be taken once
  };

  // Of a stream, for all in ascending order from 0 on. Begins the test of the next stream, which
  // runs in the pool while this one is encoded.
  absl::StatusOr<Outcome> Take(uint32_t stream);

 private:
  struct Test {
    Outcome outcome;
    // Set by the pool before `done`.
    absl::Status status;
    absl::Notification done;
  };

  void Begin(uint32_t stream);
  absl::Status Run(uint32_t stream, Outcome& outcome) const;
  void WaitForNext() const {
    if (next_ != nullptr) next_->done.WaitForNotification();
  }

  const DeltaEncoderInput& input_;
  const ChunkEncoder& chunks_;
  ThreadPool* const pool_;
  std::shared_ptr<Test> next_;  // null: none
};

}  // namespace wdelta
