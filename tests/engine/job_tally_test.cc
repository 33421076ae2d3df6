#include "storage/engine/queue/job_tally.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/catalog/keys.h"
#include "tests/engine/engine_fixture.h"

namespace wdelta::testing {
namespace {

using store::v1::JobRecord;
using ::testing::ElementsAre;
using ::testing::Pair;

constexpr JobTally::Key kPendingIngest{JobRecord::INGEST, JobRecord::PENDING};
constexpr JobTally::Key kRunningIngest{JobRecord::INGEST, JobRecord::RUNNING};
constexpr JobTally::Key kPendingGc{JobRecord::GC, JobRecord::PENDING};

class JobTallyTest : public EngineTest {
 protected:
  JobTally::Counts Read() {
    const absl::StatusOr<JobTally::Counts> counts = store_->job_tally().Read();
    EXPECT_TRUE(counts.ok()) << counts.status();
    return counts.value_or(JobTally::Counts());
  }
};

TEST_F(JobTallyTest, FollowsJobsFromTheQueueToTheirEnd) {
  ASSERT_TRUE(Upload("before", {{"f", "bytes"}}).ok());
  EXPECT_THAT(Read(), ElementsAre(Pair(kPendingIngest, 1u)));
  ASSERT_TRUE(Upload("after", {{"f", "others"}}).ok());
  EXPECT_THAT(Read(), ElementsAre(Pair(kPendingIngest, 2u)));
  absl::StatusOr<JobQueue::Claim> claim = store_->jobs().ClaimNext();
  ASSERT_TRUE(claim.ok() && claim->job.has_value());
  EXPECT_THAT(Read(), ElementsAre(Pair(kPendingIngest, 1u), Pair(kRunningIngest, 1u)));
  ASSERT_TRUE(store_->runner().Run(*std::move(claim->job), [] { return false; }).ok());
  ASSERT_TRUE(store_->maintenance().StartGc().ok());
  EXPECT_THAT(Read(), ElementsAre(Pair(kPendingIngest, 1u), Pair(kRunningIngest, 0u),
                                  Pair(kPendingGc, 1u)));
  RunJobs();
  for (const auto& [key, count] : Read()) EXPECT_EQ(count, 0u) << key.first << "/" << key.second;
}

TEST_F(JobTallyTest, ReadsTheQueueOnce) {
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(Upload(absl::StrCat("m", i), {{"f", "bytes"}}).ok());
  EXPECT_THAT(Read(), ElementsAre(Pair(kPendingIngest, 20u)));
  ASSERT_TRUE(Upload("last", {{"f", "bytes"}}).ok());
  const int reads = catalog_.reads;
  EXPECT_THAT(Read(), ElementsAre(Pair(kPendingIngest, 21u)));
  EXPECT_EQ(catalog_.reads, reads);
}

TEST_F(JobTallyTest, ReadsTheQueueAgainWhenItWasNotAskedForLong) {
  ASSERT_TRUE(Upload("m", {{"f", "bytes"}}).ok());
  EXPECT_THAT(Read(), ElementsAre(Pair(kPendingIngest, 1u)));
  RunJobs();
  for (uint64_t i = 0; i <= limits::kMaxWatchBacklog; ++i) {
    Commit other;
    other.Write("other", "x");
    ASSERT_TRUE(catalog_.Apply(other).ok());
  }
  EXPECT_THAT(Read(), ElementsAre(Pair(kPendingIngest, 0u)));
}

TEST_F(JobTallyTest, LeavesOutADamagedRecord) {
  const absl::StatusOr<FinishedUpload> damaged = Upload("damaged", {{"f", "bytes"}});
  ASSERT_TRUE(damaged.ok());
  ASSERT_TRUE(Upload("whole", {{"f", "bytes"}}).ok());
  Commit damage;
  damage.Write(keys::Job(damaged->job_id), "\xff");
  ASSERT_TRUE(catalog_.Apply(damage).ok());
  EXPECT_THAT(Read(), ElementsAre(Pair(kPendingIngest, 1u)));
}

}  // namespace
}  // namespace wdelta::testing
