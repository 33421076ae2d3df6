#include "storage/engine/queue/job_stats.h"

#include <map>
#include <string>

#include "gtest/gtest.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta::testing {
namespace {

using store::v1::JobRecord;

class JobStatsTest : public EngineTest {
 protected:
  uint64_t Runs(JobRecord::Kind kind, RunResult result) {
    const auto all = store_->runner().stats().durations_seconds();
    const auto found = all.find({kind, result});
    return found == all.end() ? 0 : found->second.total;
  }
  MaintenanceTotals Maintained() { return store_->runner().stats().maintenance(); }
};

TEST_F(JobStatsTest, CountsRunsByWhatCameOfThem) {
  ASSERT_TRUE(Upload("m", {{"f", "bytes"}}).ok());
  // A stopping daemon puts a job back.
  absl::StatusOr<JobQueue::Claim> claim = store_->jobs().ClaimNext();
  ASSERT_TRUE(claim.ok() && claim->job.has_value());
  EXPECT_FALSE(store_->runner().Run(*std::move(claim->job), [] { return true; }).ok());
  EXPECT_EQ(Runs(JobRecord::INGEST, RunResult::kPutBack), 1u);
  clock_.Advance(absl::Seconds(10));
  RunJobs();
  EXPECT_EQ(Runs(JobRecord::INGEST, RunResult::kSucceeded), 1u);

  ASSERT_TRUE(Upload("doomed", {{"f", "others"}}).ok());
  claim = store_->jobs().ClaimNext();
  ASSERT_TRUE(claim.ok() && claim->job.has_value());
  ASSERT_TRUE(store_->jobs().RequestCancel(claim->job->record.id()).ok());
  EXPECT_FALSE(store_->runner().Run(*std::move(claim->job), [] { return false; }).ok());
  EXPECT_EQ(Runs(JobRecord::INGEST, RunResult::kCancelled), 1u);
  EXPECT_EQ(Runs(JobRecord::INGEST, RunResult::kFailed), 0u);
}

TEST_F(JobStatsTest, CountsWhatScrubsFind) {
  ASSERT_TRUE(Upload("whole", {{"f", std::string(50'000, 'a')}}).ok());
  ASSERT_TRUE(Upload("damaged", {{"f", std::string(50'000, 'b')}}).ok());
  RunJobs();
  ASSERT_FALSE((*store_->maintenance().LastScrub()).has_value());
  DamageDelta(RecordOf("damaged"), RecordOf("damaged").stored_bytes() / 2);
  const absl::StatusOr<std::string> job = store_->maintenance().StartScrub(false);
  ASSERT_TRUE(job.ok()) << job.status();
  RunJobs();
  const MaintenanceTotals totals = Maintained();
  EXPECT_EQ(totals.scrub_models, 2u);
  EXPECT_EQ(totals.scrub_bytes,
            RecordOf("whole").stored_bytes() + RecordOf("damaged").stored_bytes());
  EXPECT_EQ(totals.scrub_damages, 1u);
  EXPECT_EQ(totals.scrub_repairs, 0u);
  EXPECT_EQ(totals.last_scrub_damages, 1u);
  const auto last = store_->maintenance().LastScrub();
  ASSERT_TRUE(last.ok() && last->has_value());
  EXPECT_EQ((*last)->id(), *job);
  EXPECT_EQ((*last)->scrub_report().damage_count(), 1u);
}

TEST_F(JobStatsTest, CountsWhatCollectionsFreeOnce) {
  ASSERT_TRUE(Upload("m", {{"f", std::string(50'000, 'a')}}).ok());
  RunJobs();
  ASSERT_TRUE(store_->models().Delete("m").ok());
  // The job that the deletion added does not run before the collection.
  ASSERT_TRUE(store_->maintenance().StartGc().ok());
  const auto claim_gc = [&]() -> Job {
    std::vector<Job> others;
    while (true) {
      absl::StatusOr<JobQueue::Claim> claim = store_->jobs().ClaimNext();
      EXPECT_TRUE(claim.ok() && claim->job.has_value());
      if (claim->job->record.kind() == JobRecord::GC) return *std::move(claim->job);
      others.push_back(*std::move(claim->job));
    }
  };
  ASSERT_TRUE(store_->runner().Run(claim_gc(), [] { return false; }).ok());
  EXPECT_EQ(Maintained().gc_models_freed, 1u);
  const uint64_t freed_bytes = Maintained().gc_freed_bytes;
  EXPECT_GT(freed_bytes, 0u);
  ASSERT_TRUE(store_->maintenance().StartGc().ok());
  ASSERT_TRUE(store_->runner().Run(claim_gc(), [] { return false; }).ok());
  EXPECT_EQ(Maintained().gc_freed_bytes, freed_bytes);
  EXPECT_EQ(Runs(JobRecord::GC, RunResult::kSucceeded), 2u);
}

TEST_F(JobStatsTest, FetchesTellDepthBytesAndTheCache) {
  const auto weights = RandomWeights("a", {256, 256}, 1);
  ASSERT_TRUE(Upload("base", {{"m.safetensors", BuildSafetensors({weights})}}).ok());
  RunJobs();
  ASSERT_TRUE(
      Upload("tuned", {{"m.safetensors", BuildSafetensors({FineTuned(weights, 2)})}}, {"base"})
          .ok());
  RunJobs();
  ASSERT_EQ(RecordOf("tuned").storage_depth(), 1u);
  Reader& reader = store_->reader();
  const auto fetch = [&] {
    auto source = reader.OpenToServe(RecordOf("tuned"));
    ASSERT_TRUE(source.ok()) << source.status();
    ReadAll(*source);
  };
  fetch();
  EXPECT_EQ(reader.fetch_stats().duration_seconds.Counts().total, 1u);
  EXPECT_EQ(reader.fetch_stats().chain_depth.Counts().sum, 1);
  const uint64_t read_bytes = reader.fetch_stats().read_bytes;
  EXPECT_GE(read_bytes, RecordOf("tuned").raw_bytes());
  const ChunkCache::Stats first = reader.chunk_cache_stats();
  EXPECT_GT(first.misses, 0u);
  EXPECT_GT(first.size_bytes, 0u);
  fetch();
  EXPECT_GT(reader.chunk_cache_stats().hits, first.hits);
  EXPECT_EQ(reader.fetch_stats().read_bytes, 2 * read_bytes);
}

}  // namespace
}  // namespace wdelta::testing
