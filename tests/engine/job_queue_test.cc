#include "storage/engine/queue/job_queue.h"

#include <optional>
#include <utility>

#include "gtest/gtest.h"
#include "tests/engine/engine_fixture.h"

namespace wdelta::testing {
namespace {

class JobQueueTest : public EngineTest {};

// A worker that was slow to begin gave up the blobs of the attempt that had taken over.
TEST_F(JobQueueTest, AJobIsNotClaimedAgainWhileItsWorkerHasItHoweverLongThatTakes) {
  ASSERT_TRUE(Upload("m", {{"file.bin", "bytes"}}).ok());
  absl::StatusOr<JobQueue::Claim> claim = store_->jobs().ClaimNext();
  ASSERT_TRUE(claim.ok() && claim->job.has_value());
  std::optional<Job> slow = std::move(claim->job);
  clock_.Advance(absl::Hours(1));
  claim = store_->jobs().ClaimNext();
  ASSERT_TRUE(claim.ok()) << claim.status();
  EXPECT_FALSE(claim->job.has_value());
  EXPECT_LT(claim->retry_at, absl::InfiniteFuture());

  // One that ended without a word, as when the catalog fails.
  slow.reset();
  claim = store_->jobs().ClaimNext();
  ASSERT_TRUE(claim.ok() && claim->job.has_value());
  EXPECT_EQ(claim->job->record.attempts(), 2u);
  EXPECT_TRUE(store_->runner().Run(*std::move(claim->job), [] { return false; }).ok());
  EXPECT_EQ(RecordOf("m").state(), store::v1::ModelRecord::READY);
}

}  // namespace
}  // namespace wdelta::testing
