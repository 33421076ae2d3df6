#include "storage/engine/low_rank/rank_tests.h"

#include <utility>

#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/low_rank/correction_choice.h"
#include "storage/engine/low_rank/rank_estimate.h"

namespace wdelta {

absl::StatusOr<RankTests::Outcome> RankTests::Take(uint32_t stream) {
  if (next_ == nullptr) Begin(stream);
  WaitForNext();
  const std::shared_ptr<Test> test = std::exchange(next_, nullptr);
  if (stream + 1 < input_.target->checkpoint().streams.size()) Begin(stream + 1);
  WDELTA_RETURN_IF_ERROR(test->may_have.status());
  return *test->may_have ? std::move(test->outcome) : Outcome();
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
  pool_->Schedule([test] {
    test->may_have = MayHaveLowRank(*test->outcome.matrix);
    test->done.Notify();
  });
}

}  // namespace wdelta
