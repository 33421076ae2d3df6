// What others do, and ends of the daemon, never cost a model that was uploaded.
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "storage/base/limits.h"
#include "storage/catalog/keys.h"
#include "tests/engine/gc_fixture.h"

namespace wdelta {
namespace {

using store::v1::JobRecord;
using store::v1::ModelRecord;
using ::testing::HasSubstr;

class InterruptionTest : public testing::GcFixture {
 protected:
  // Blobs are read in the thread that runs a job.
  void RestartWithoutThreads() {
    Restart();
    ModelStoreOptions options;
    options.staging_dir = folder_.path();
    options.codec_threads = 0;
    store_ = std::make_unique<ModelStore>(
        ModelStore::Dependencies{&blobs_, &catalog_, files_.get(), &clock_}, options);
    ASSERT_TRUE(store_->Recover().ok());
  }

  // Deletes `name` and frees its bytes right after its record was read `reads` times; false
  // when it was not read so often by the jobs that wait.
  bool RunJobsWhile(const std::string& name, int reads) {
    const std::string key = keys::Model(RecordOf(name).id());
    bool is_deleted = false;
    crash_.after_get = [&, this](absl::string_view read) {
      if (read != key || --reads > 0) return;
      crash_.after_get = nullptr;
      is_deleted = true;
      EXPECT_TRUE(store_->models().Delete(name).ok());
      absl::StatusOr<JobQueue::Claim> claim = store_->jobs().ClaimNext();
      if (claim.ok() && claim->job.has_value()) {
        store_->runner().Run(*std::move(claim->job), [] { return false; }).IgnoreError();
      }
    };
    TryJobs().IgnoreError();
    crash_.after_get = nullptr;
    // What had to wait for a job that held it.
    clock_.Advance(absl::Minutes(5));
    RunJobs();
    return is_deleted;
  }
};

TEST_F(InterruptionTest, AModelMayBeDeletedAtAnyMomentOfAnIngestOfItsTwin) {
  const testing::Files files = testing::SmallCheckpoint(1);
  for (int reads = 1;; ++reads) {
    SCOPED_TRACE(reads);
    UploadReady("twin", files);
    ASSERT_TRUE(Upload("model", files).ok());
    const bool is_deleted = RunJobsWhile("twin", reads);
    ASSERT_EQ(RecordOf("model").state(), ModelRecord::READY) << RecordOf("model").error();
    EXPECT_TRUE(ReadBack("model") == files);
    ASSERT_TRUE(store_->models().Delete("model").ok());
    if (!is_deleted) {
      ASSERT_TRUE(store_->models().Delete("twin").ok());
      EXPECT_GT(reads, 2);
      break;
    }
    RunJobs();
    EXPECT_THAT(BlobHexes(), ::testing::IsEmpty());
  }
}

TEST_F(InterruptionTest, AModelMayBeDeletedAtAnyMomentOfAnIngestOfItsChild) {
  const testing::Files base = testing::SmallCheckpoint(1);
  const testing::Files tuned = testing::SmallCheckpoint(1, 11);
  for (int reads = 1;; ++reads) {
    SCOPED_TRACE(reads);
    UploadReady("base", base);
    ASSERT_TRUE(Upload("tuned", tuned, {"base"}).ok());
    const bool is_deleted = RunJobsWhile("base", reads);
    ASSERT_EQ(RecordOf("tuned").state(), ModelRecord::READY) << RecordOf("tuned").error();
    EXPECT_TRUE(ReadBack("tuned") == tuned);
    ASSERT_TRUE(store_->models().Delete("tuned").ok());
    if (!is_deleted) {
      EXPECT_GT(reads, 4);
      break;
    }
    RunJobs();
    EXPECT_THAT(BlobHexes(), ::testing::IsEmpty());
  }
}

// It had ended as FAILED, for a blob that was not found. Found by simulation.
TEST_F(InterruptionTest, AJobWhoseModelIsDeletedWhileItReadsBackIsCancelled) {
  for (int reads = 1;; ++reads) {
    SCOPED_TRACE(reads);
    const std::string job_id = Upload("model", testing::SmallCheckpoint(1))->job_id;
    int reads_left = reads;
    crash_.before_blob_get = [&, this] {
      if (--reads_left > 0) return;
      crash_.before_blob_get = nullptr;
      EXPECT_TRUE(store_->models().Delete("model").ok());
      absl::StatusOr<JobQueue::Claim> claim = store_->jobs().ClaimNext();
      EXPECT_TRUE(claim.ok() && claim->job.has_value());
      store_->runner().Run(*std::move(claim->job), [] { return false; }).IgnoreError();
    };
    TryJobs().IgnoreError();
    crash_.before_blob_get = nullptr;
    if (reads_left > 0) {
      EXPECT_GT(reads, 1);
      break;
    }
    const JobRecord job = store_->jobs().Get(job_id)->record;
    EXPECT_EQ(job.state(), JobRecord::CANCELLED) << job.error();
    EXPECT_EQ(job.error(), "the model was deleted");
    EXPECT_THAT(BlobHexes(), ::testing::IsEmpty());
  }
}

// It had ended the daemon, where a candidate for the storage parent could be sampled and not
// be read a moment later. Found by simulation.
TEST_F(InterruptionTest, ACandidateMayBecomeUnreadableAtAnyMomentOfAnIngestWithLoss) {
  const testing::TestTensor weights = testing::RandomWeights("a", {64, 64}, 1);
  const auto files_of = [](const testing::TestTensor& tensor) {
    return testing::Files{{"model.safetensors", testing::BuildSafetensors({tensor})}};
  };
  const testing::Files base = files_of(weights);
  const testing::Files sibling = files_of(testing::FineTuned(weights, 11));
  UploadReady("base", base);
  StartUploadParams params;
  params.name = "lossy";
  params.parents.push_back({"base", {}, {}});
  params.fidelity.mutable_all()->set_strategy(store::v1::NEAR_LOSSLESS);
  params.fidelity.mutable_all()->set_relative_error(0.1);
  for (int reads = 1;; ++reads) {
    SCOPED_TRACE(reads);
    UploadReady("sibling", sibling, {"base"});
    RestartWithoutThreads();  // nothing is cached
    ASSERT_TRUE(Upload(params, files_of(testing::FineTuned(weights, 12))).ok());
    const ModelRecord damaged = RecordOf("sibling");
    int reads_left = reads;
    crash_.before_blob_get = [&, this] {
      if (--reads_left == 0) DamageDelta(damaged, damaged.stored_bytes() / 2);
    };
    TryJobs().IgnoreError();
    crash_.before_blob_get = nullptr;
    const ModelRecord model = RecordOf("lossy");
    EXPECT_TRUE(model.state() == ModelRecord::READY || model.state() == ModelRecord::FAILED);
    ASSERT_TRUE(store_->models().Delete("lossy").ok());
    ASSERT_TRUE(store_->models().Delete("sibling").ok());
    RunJobs();
    if (reads_left > 0) {
      EXPECT_GT(reads, 4);
      break;
    }
  }
  EXPECT_TRUE(ReadBack("base") == base);
}

// A job that may be what ends the daemon lets others go first, and ends itself in time.
TEST_F(InterruptionTest, AJobThatEndsTheDaemonAgainAndAgainFails) {
  const testing::Files files = testing::SmallCheckpoint(1);
  const std::string poison_job = Upload("poison", files)->job_id;
  for (uint32_t i = 0; i < limits::kMaxJobInterruptions; ++i) {
    const JobQueue::Claim claim = *store_->jobs().ClaimNext();
    ASSERT_TRUE(claim.job.has_value());
    ASSERT_EQ(claim.job->record.id(), poison_job);
    Restart();
    if (i == limits::kQuickJobInterruptions) {
      UploadReady("other", testing::SmallCheckpoint(2));
      EXPECT_EQ(store_->jobs().Get(poison_job)->record.state(), JobRecord::PENDING);
    }
    clock_.Advance(absl::Minutes(1));
  }
  EXPECT_FALSE(TryJobs().ok());
  const JobRecord job = store_->jobs().Get(poison_job)->record;
  EXPECT_EQ(job.state(), JobRecord::FAILED);
  EXPECT_THAT(job.error(), HasSubstr("the daemon ended 16 times in a row"));
  EXPECT_EQ(RecordOf("poison").state(), ModelRecord::FAILED);
  EXPECT_TRUE(ReadBack("poison") == files);  // from what was uploaded
  ExpectAllReadable();
}

TEST_F(InterruptionTest, InterruptionsAreNoFailuresOfTheJob) {
  const testing::Files files = testing::SmallCheckpoint(1);
  const std::string job_id = Upload("model", files)->job_id;
  for (uint32_t i = 0; i < limits::kMaxJobFailures + 1; ++i) {
    ASSERT_TRUE(store_->jobs().ClaimNext()->job.has_value());
    Restart();
    clock_.Advance(absl::Minutes(1));
  }
  // Fails once for a passing reason.
  crash_.steps_left = 1;
  EXPECT_FALSE(TryJobs().ok());
  crash_.steps_left = 1'000'000;
  Restart();
  clock_.Advance(absl::Minutes(5));
  RunJobs();
  EXPECT_EQ(store_->jobs().Get(job_id)->record.state(), JobRecord::SUCCEEDED);
  EXPECT_TRUE(ReadBack("model") == files);
}

// One of them was no longer known, and what it read could be freed beneath it.
TEST_F(InterruptionTest, AModelThatTwoOpenAtOnceIsInUseUntilBothHaveLetGo) {
  ASSERT_TRUE(Upload("base", testing::SmallCheckpoint(1)).ok());
  RunJobs();
  ASSERT_TRUE(Upload("child", testing::SmallCheckpoint(1, 11), {"base"}).ok());
  RunJobs();
  ASSERT_EQ(RecordOf("child").storage_parent_id(), RecordOf("base").id());
  const std::string id = RecordOf("child").id();
  const std::string key = keys::Model(RecordOf("base").id());
  for (const bool first_ends_first : {false, true}) {
    ContentSourcePtr second;
    crash_.after_get = [&](absl::string_view read) {
      if (read != key) return;
      crash_.after_get = nullptr;
      second = *Open("child");
    };
    ContentSourcePtr first = *Open("child");
    ASSERT_NE(second, nullptr);
    (first_ends_first ? first : second).reset();
    EXPECT_TRUE(store_->reader().InUse(id));
    EXPECT_TRUE(store_->reader().InUse(RecordOf("base").id()));
    first.reset();
    second.reset();
    EXPECT_FALSE(store_->reader().InUse(id));
  }
}

}  // namespace
}  // namespace wdelta
