#include "storage/engine/encoding/low_rank/rank_tests.h"

#include <algorithm>
#include <utility>

#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/encoding/chunk_input.h"
#include "storage/engine/encoding/low_rank/correction_choice.h"
#include "storage/engine/encoding/low_rank/rank_estimate.h"

namespace wdelta {

absl::StatusOr<RankTests::Outcome> RankTests::Take(uint32_t stream) {
  const auto count = static_cast<uint32_t>(input_.target->checkpoint().streams.size());
  const uint64_t end = std::min<uint64_t>(count, uint64_t{stream} + 1);
  for (; next_stream_ < end; ++next_stream_) Begin(next_stream_);
  const std::shared_ptr<Test> test = tests_.front();
  test->done.WaitForNotification();
  tests_.pop_front();
  bytes_ahead_ -= test->bytes_ahead;
  const uint64_t ahead = std::min<uint64_t>(count, end + pool_->thread_count());
  for (; next_stream_ < ahead && bytes_ahead_ < limits::kMaxBytesAhead; ++next_stream_) {
    Begin(next_stream_);
  }
  WDELTA_RETURN_IF_ERROR(test->status);
  return std::move(test->outcome);
}

void RankTests::Begin(uint32_t stream) {
  const std::shared_ptr<Test> test = tests_.emplace_back(std::make_shared<Test>());
  std::optional<DeltaMatrix>& matrix = test->outcome.matrix;
  matrix = MatrixToCorrect(input_, stream);
  const bool is_stored = chunks_.HasStoredParent(stream);
  if (matrix.has_value() && !is_stored && MaxRankOf(*matrix) == 0) matrix.reset();
  if (!matrix.has_value() || is_stored) {
    test->done.Notify();
    return;
  }
  test->bytes_ahead = std::min(matrix->tensor().size_bytes, limits::kMaxHeldBytes);
  bytes_ahead_ += test->bytes_ahead;
  pool_->Schedule([this, stream, test] {
    test->status = Run(stream, test->outcome);
    test->done.Notify();
  });
}

absl::Status RankTests::GoOn() const {
  return is_stopped_ ? absl::CancelledError("the search for low ranks was stopped")
                     : absl::OkStatus();
}

absl::Status RankTests::Run(uint32_t stream, Outcome& outcome) const {
  WDELTA_RETURN_IF_ERROR(GoOn());
  const DeltaMatrix& matrix = *outcome.matrix;
  if (!IsToldByFirstChunk(matrix)) {
    WDELTA_ASSIGN_OR_RETURN(const bool may_have, MayHaveLowRank(matrix));
    if (!may_have) outcome.matrix.reset();
    return absl::OkStatus();
  }
  const uint64_t size_bytes = matrix.tensor().size_bytes;
  const std::vector<ChunkRef> all = ChunksOfStream(stream, size_bytes);
  std::vector<ReadChunk> chunks(1);
  WDELTA_ASSIGN_OR_RETURN(chunks[0], chunks_.Read(all[0]));
  const std::optional<std::string>& parent = chunks[0].parent;
  if (!parent.has_value() || !MayHaveLowRank(matrix, chunks[0].bytes, *parent)) {
    outcome.matrix.reset();
  }
  if (!outcome.matrix.has_value() || size_bytes > limits::kMaxHeldBytes) {
    outcome.chunks = std::make_shared<std::vector<ReadChunk>>(std::move(chunks));
    return absl::OkStatus();
  }
  for (size_t i = 1; i < all.size(); ++i) {
    WDELTA_ASSIGN_OR_RETURN(chunks.emplace_back(), chunks_.Read(all[i]));
  }
  return Choose(std::move(chunks), outcome);
}

absl::Status RankTests::Choose(std::vector<ReadChunk> chunks, Outcome& outcome) const {
  // Runs what it is given in this thread, which is one of the pool's.
  ThreadPool here(0);
  const CorrectionSearch search{input_, chunks_, &here, [this] { return GoOn(); },
                                input_.effort != Effort::kFast};
  WDELTA_RETURN_IF_ERROR(outcome.matrix->Hold(std::move(chunks)));
  WDELTA_ASSIGN_OR_RETURN(MeasuredCorrection chosen, ChooseCorrection(search, *outcome.matrix));
  outcome.correction = std::move(chosen.correction);
  outcome.chunks = std::make_shared<std::vector<ReadChunk>>(outcome.matrix->TakeChunks());
  outcome.matrix.reset();
  return absl::OkStatus();
}

}  // namespace wdelta
