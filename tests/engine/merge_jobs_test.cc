// Merges whatever happens meanwhile: deletions, cancels, crashes.
#include "tests/engine/merge_fixture.h"

namespace wdelta::testing {
namespace {

using store::v1::JobRecord;
using store::v1::MergeRecipe;
using store::v1::ModelRecord;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(MergeTest, SourcesThatAreDeletedMeanwhileAreKeptForIt) {
  StoreFamily(14);
  MergeParams params = Params(MergeRecipe::TASK_ARITHMETIC, {"a", "b"}, {1, 1});
  params.request_id = std::string("r");
  const std::string job = Start(params);
  for (const char* name : {"a", "b", "base"}) ASSERT_TRUE(store_->models().Delete(name).ok());
  // The deletions are worked on before the merge, then once more after it.
  while (true) {
    absl::StatusOr<JobQueue::Claim> claim = store_->jobs().ClaimNext();
    ASSERT_TRUE(claim.ok());
    if (!claim->job.has_value()) break;
    if (claim->job->record.id() == job) {
      ASSERT_TRUE(store_->jobs().PutBack(*claim->job, absl::Seconds(60), false, "").ok());
      continue;
    }
    ASSERT_TRUE(store_->runner().Run(*std::move(claim->job), [] { return false; }).ok());
  }
  clock_.Advance(absl::Seconds(61));
  RunJobs();
  ASSERT_EQ(RecordOf("merged").state(), ModelRecord::READY) << RecordOf("merged").error();
  EXPECT_TRUE(ReadBack("merged").at("model.safetensors") == ExpectedFile(params));
  ExpectNoHolds();
  ASSERT_TRUE(store_->models().Delete("merged").ok());
  RunJobs();
  EXPECT_THAT(BlobHexes(), IsEmpty());
  for (const std::string prefix : {"model/", "request/", "child/", "encoded_on/"}) {
    EXPECT_THAT(catalog_.Scan({prefix, PrefixEnd(prefix), 10, false})->records, IsEmpty());
  }
}

TEST_F(MergeTest, CancelledMergesFailAndLetGo) {
  StoreFamily(15);
  const MergeParams params = Params(MergeRecipe::LINEAR, {"a", "b"}, {1, 1});
  // While it waits.
  const std::string waiting = Start(params);
  ASSERT_TRUE(store_->models().Delete("b").ok());
  ASSERT_TRUE(store_->jobs().RequestCancel(waiting).ok());
  EXPECT_EQ(RecordOf("merged").state(), ModelRecord::FAILED);
  EXPECT_THAT(RecordOf("merged").error(), HasSubstr("was cancelled"));
  ExpectNoHolds();
  RunJobs();
  ASSERT_TRUE(store_->models().Delete("merged").ok());
  RunJobs();
  // Nothing of `b` is left.
  EXPECT_EQ(catalog_.Scan({"model/", PrefixEnd("model/"), 10, false})->records.size(), 2u);

  // While it runs.
  MergeParams running = Params(MergeRecipe::TIES, {"a"}, {1});
  const std::string job = Start(running);
  absl::StatusOr<JobQueue::Claim> claim = store_->jobs().ClaimNext();
  ASSERT_TRUE(claim.ok() && claim->job.has_value());
  ASSERT_TRUE(store_->jobs().RequestCancel(job).ok());
  EXPECT_EQ(RecordOf("merged").state(), ModelRecord::IMPORTING);
  EXPECT_TRUE(
      absl::IsCancelled(store_->runner().Run(*std::move(claim->job), [] { return false; })));
  EXPECT_EQ(store_->jobs().Get(job)->record.state(), JobRecord::CANCELLED);
  EXPECT_EQ(RecordOf("merged").state(), ModelRecord::FAILED);
  ExpectNoHolds();
  ASSERT_TRUE(store_->models().Delete("merged").ok());
  RunJobs();
  EXPECT_EQ(catalog_.Scan({"child/", PrefixEnd("child/"), 10, false})->records.size(), 1u);
}

TEST_F(MergeTest, DeletedBeforeItWasComputed) {
  StoreFamily(16);
  Start(Params(MergeRecipe::LINEAR, {"a", "b"}, {1, 1}));
  ASSERT_TRUE(store_->models().Delete("merged").ok());
  EXPECT_TRUE(absl::IsCancelled(TryJobs()));
  ExpectNoHolds();
  for (const char* name : {"a", "b", "base"}) ASSERT_TRUE(store_->models().Delete(name).ok());
  RunJobs();
  EXPECT_THAT(BlobHexes(), IsEmpty());
  EXPECT_THAT(catalog_.Scan({"model/", PrefixEnd("model/"), 10, false})->records, IsEmpty());
}

TEST_F(MergeTest, IsTakenUpAgainAfterACrashAnywhere) {
  StoreFamily(17);
  const MergeParams params = Params(MergeRecipe::TIES, {"a", "b"}, {1, 1});
  const std::string expected = ExpectedFile(params);
  bool has_crashed = true;
  for (int steps = 0; has_crashed; ++steps) {
    SCOPED_TRACE(steps);
    crash_.steps_left = steps;
    const auto started = store_->merges().Start(params);
    if (started.ok()) (void)TryJobs();
    has_crashed = crash_.crashed();
    Restart();
    if (!started.ok()) {
      // Nothing of it is there.
      EXPECT_FALSE(store_->models().Resolve("merged").ok());
      ExpectNoHolds();
      continue;
    }
    clock_.Advance(absl::Seconds(60));
    RunJobs();
    ASSERT_EQ(RecordOf("merged").state(), ModelRecord::READY) << RecordOf("merged").error();
    EXPECT_TRUE(ReadBack("merged").at("model.safetensors") == expected);
    ExpectNoHolds();
    ASSERT_TRUE(store_->models().Delete("merged").ok());
    RunJobs();
  }
}

}  // namespace
}  // namespace wdelta::testing
