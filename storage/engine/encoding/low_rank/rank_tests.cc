#include "storage/engine/encoding/low_rank/rank_tests.h"

#include <utility>

#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/encoding/low_rank/correction_choice.h"
#include "storage/engine/encoding/low_rank/rank_estimate.h"

namespace wdelta {

absl::StatusOr<RankTests::Outcome> RankTests::Take(uint32_t stream) {
  if (next_ == nullptr) Begin(stream);
  WaitForNext();
  const std::shared_ptr<Test> test = std::exchange(next_, nullptr);
  if (stream + 1 < input_.target->checkpoint().streams.size()) Begin(stream + 1);
  WDELTA_RETURN_IF_ERROR(test->status);
  return std::move(test->outcome);
}

void RankTests::Begin(uint32_t stream) {
  next_ = std::make_shared<Test>();
  const std::shared_ptr<Test> test = next_;
  test->outcome.matrix = MatrixToCorrect(input_, stream);
  if (!test->outcome.matrix.has_value() || chunks_.HasStoredParent(stream)) {
    test->done.Notify();
    return;
  }
  if (test->outcome.matrix->tensor().size_bytes <= limits::kChunkBytes) {
    test->outcome.is_left_to_chunk = true;
    test->done.Notify();
    return;
  }
  pool_->Schedule([this, stream, test] {
    test->status = Run(stream, test->outcome);
    test->done.Notify();
  });
}

absl::Status RankTests::Run(uint32_t stream, Outcome& outcome) const {
  bool may_have = false;
  if (IsToldByFirstChunk(*outcome.matrix)) {
    WDELTA_ASSIGN_OR_RETURN(ReadChunk read, chunks_.Read({stream, 0, limits::kChunkBytes}));
    may_have = read.parent.has_value() && MayHaveLowRank(*outcome.matrix, read.bytes, *read.parent);
    outcome.first_chunk = std::make_shared<ReadChunk>(std::move(read));
  } else {
    WDELTA_ASSIGN_OR_RETURN(may_have, MayHaveLowRank(*outcome.matrix));
  }
  if (!may_have) outcome.matrix.reset();
  return absl::OkStatus();
}

}  // namespace wdelta
