// Garbage collection frees what it can and changes nothing that is served.
#include <algorithm>
#include <random>

#include "gmock/gmock.h"
#include "storage/base/error.h"
#include "storage/catalog/keys.h"
#include "storage/catalog/maintenance_keys.h"
#include "tests/engine/gc_fixture.h"

namespace wdelta {
namespace {

using store::v1::GcReport;
using store::v1::JobRecord;
using store::v1::ModelRecord;
using ::testing::Contains;
using testing::Files;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

using GcTest = testing::GcFixture;

TEST_F(GcTest, FreesADeletedBaseByEncodingItsFineTunesAgain) {
  UploadFamily(2);
  const std::string digest = RecordOf("tuned1").digest();
  Delete("base");
  EXPECT_TRUE(HoldsBytesOf("base"));
  const uint64_t before = StoredBytes();

  const Plan plan = PlanGc();
  EXPECT_THAT(plan.freed, UnorderedElementsAre("base"));
  EXPECT_THAT(plan.rewritten, UnorderedElementsAre("tuned1", "tuned2"));
  EXPECT_LT(plan.totals.growth_bytes, static_cast<int64_t>(plan.totals.freed_bytes));

  const GcReport report = RunGc();
  EXPECT_EQ(report.models_rewritten(), 2u);
  EXPECT_EQ(report.models_freed(), 1u);
  EXPECT_EQ(report.models_kept(), 0u);
  EXPECT_THAT(report.problems(), IsEmpty());
  EXPECT_FALSE(HoldsBytesOf("base"));
  EXPECT_TRUE(HasRecord("base"));  // the lineage of those that live
  EXPECT_EQ(RecordOf("tuned1").digest(), digest);
  ExpectAllReadable();
  // One of them is alone, the other is encoded against it.
  EXPECT_EQ(RecordOf("tuned1").storage_parent_id(), "");
  EXPECT_EQ(RecordOf("tuned2").storage_parent_id(), ids_["tuned1"]);
  EXPECT_LT(StoredBytes(), before);
  EXPECT_EQ(before + report.written_bytes() - report.freed_bytes(), StoredBytes());
  const double error = static_cast<double>(plan.totals.growth_bytes) -
                       static_cast<double>(StoredBytes() + plan.totals.freed_bytes - before);
  EXPECT_LT(std::abs(error), 0.05 * static_cast<double>(before));

  EXPECT_EQ(RunGc().models_rewritten(), 0u);
  Delete("tuned1");
  Delete("tuned2");
  RunGc();
  EXPECT_THAT(BlobHexes(), IsEmpty());
  EXPECT_FALSE(HasRecord("base"));
}

TEST_F(GcTest, KeepsWhatWouldCostMoreToReplace) {
  UploadFamily(3);
  Delete("base");
  RestartWithChainDepth(0);  // each would have to be stored alone
  const uint64_t before = StoredBytes();
  const Plan plan = PlanGc();
  EXPECT_THAT(plan.rewritten, IsEmpty());
  EXPECT_THAT(plan.kept, UnorderedElementsAre("base"));
  const GcReport report = RunGc();
  EXPECT_EQ(report.models_rewritten(), 0u);
  EXPECT_EQ(report.models_kept(), 1u);
  EXPECT_EQ(StoredBytes(), before);
  ExpectAllReadable();
  // It is not measured again for a while.
  EXPECT_EQ(RunGc().models_kept(), 1u);
  EXPECT_TRUE(catalog_.Get(keys::GcKept(ids_["base"]))->has_value());
  EXPECT_THAT(PlanGc().kept, UnorderedElementsAre("base"));
  // With fewer that need it, it is worth it.
  Delete("tuned2");
  Delete("tuned3");
  EXPECT_EQ(RunGc().models_rewritten(), 1u);
  EXPECT_FALSE(HoldsBytesOf("base"));
  EXPECT_FALSE(catalog_.Get(keys::GcKept(ids_["base"]))->has_value());
  ExpectAllReadable();
}

TEST_F(GcTest, ADecisionToKeepIsMadeAnewInTime) {
  UploadFamily(2);
  Delete("base");
  RestartWithChainDepth(0);
  EXPECT_EQ(RunGc().models_kept(), 1u);
  RestartWithChainDepth(4);  // another policy, another decision
  EXPECT_EQ(PlanGc().rewritten.size(), 2u);
  RestartWithChainDepth(0);
  // Damage that would be seen if it were measured.
  for (const std::string& hex : PiecesOf(RecordOf("tuned1"))) {
    ASSERT_TRUE(blobs_.Delete(*Digest::FromHex(hex)).ok());
  }
  EXPECT_THAT(RunGc().problems(), IsEmpty());
  clock_.Advance(absl::Hours(25));
  EXPECT_THAT(RunGc().problems(), Not(IsEmpty()));
}

TEST_F(GcTest, FreesAChainOfDeletedModels) {
  UploadReady("base", testing::SmallCheckpoint(1));
  Files files = testing::SmallCheckpoint(1, 7);
  UploadReady("one", files, {"base"});
  files["config.json"] += "\n";
  UploadReady("two", files, {"one"});
  files["config.json"] += "\n";
  UploadReady("three", files, {"two"});
  ASSERT_EQ(RecordOf("two").storage_parent_id(), ids_["one"]);
  ASSERT_NE(RecordOf("three").storage_parent_id(), ids_["base"]);
  Delete("one");
  Delete("two");
  RunGc();
  EXPECT_FALSE(HoldsBytesOf("one"));
  EXPECT_FALSE(HoldsBytesOf("two"));
  EXPECT_EQ(RecordOf("three").storage_parent_id(), ids_["base"]);
  ExpectAllReadable();
}

TEST_F(GcTest, FetchesGoOnToTheirEnd) {
  UploadFamily(2);
  ContentSourcePtr old_form = *Open("tuned1");
  ContentSourcePtr deleted_base = *Open("base");
  const Files base = files_of_["base"];
  Delete("base");
  const GcReport report = RunGc();
  EXPECT_EQ(report.models_rewritten(), 2u);
  EXPECT_GT(report.models_in_use(), 0u);
  EXPECT_TRUE(ReadAll(old_form) == files_of_["tuned1"]);
  EXPECT_TRUE(ReadAll(deleted_base) == base);
  ExpectAllReadable();
  old_form.reset();
  clock_.Advance(absl::Minutes(1));
  TryJobs().IgnoreError();
  EXPECT_TRUE(ReadAll(deleted_base) == base);
  deleted_base.reset();
  clock_.Advance(absl::Minutes(1));
  TryJobs().IgnoreError();
  EXPECT_FALSE(HoldsBytesOf("base"));
  ExpectAllReadable();
  for (const std::string& hex : BlobHexes()) {
    EXPECT_TRUE(catalog_.Get(keys::Blob(hex))->has_value());
  }
  EXPECT_EQ(StoredBytes(), RecordOf("tuned1").stored_bytes() + RecordOf("tuned2").stored_bytes());
}

TEST_F(GcTest, AStoredFormThatIsHeldStaysToItsEnd) {
  UploadFamily(1);
  const std::string id = ids_["tuned1"];
  HeldDelta held = *store_->reader().HoldDelta(id);
  std::string expected(*held.file->SizeBytes(), '\0');
  ASSERT_TRUE(held.file->Read(0, expected.data(), expected.size()).ok());
  ASSERT_TRUE(store_->models().Repack("tuned1", store::v1::MAX).ok());
  TryJobs().IgnoreError();
  const auto expect_whole = [&] {
    clock_.Advance(absl::Minutes(5));
    TryJobs().IgnoreError();
    RunGc();
    std::string bytes(expected.size(), '\0');
    ASSERT_TRUE(held.file->Read(0, bytes.data(), bytes.size()).ok());
    EXPECT_TRUE(bytes == expected);
  };
  expect_whole();
  HeldDelta repacked = *store_->reader().HoldDelta(id);
  Delete("tuned1");
  Delete("base");
  expect_whole();
  EXPECT_EQ(ErrorReason(store_->reader().HoldDelta(id).status()), "MODEL_NOT_FOUND");
  // Asked again and again, it makes no more jobs to free them later.
  const auto waiting = [this] {
    return catalog_.Scan({std::string(keys::kQueue), PrefixEnd(keys::kQueue), 100, false})
        ->records.size();
  };
  const size_t before = waiting();
  EXPECT_GT(before, 0u);
  RunGc();
  RunGc();
  EXPECT_EQ(waiting(), before);
  held.file.reset();
  repacked.file.reset();
  clock_.Advance(absl::Minutes(5));
  RunJobs();
  EXPECT_THAT(BlobHexes(), ::testing::IsEmpty());
}

TEST_F(GcTest, WhatIsServedOfALossyModelStaysAsItIs) {
  UploadReady("base", testing::SmallCheckpoint(1));
  StartUploadParams params;
  params.name = "lossy";
  params.parents.push_back({"base", {}, {}});
  params.fidelity.mutable_all()->set_strategy(store::v1::NEAR_LOSSLESS);
  params.fidelity.mutable_all()->set_relative_error(0.2);
  // Every weight moves.
  std::mt19937 random(5);
  testing::TestTensor tuned = testing::RandomWeights("embed.weight", {512, 640}, 1);
  for (size_t i = 0; i < tuned.data.size(); i += 2) {
    tuned.data[i] = static_cast<char>(tuned.data[i] ^ (random() % 64));
  }
  const Files files = {{"model.safetensors", testing::BuildSafetensors({tuned})}};
  ASSERT_TRUE(Upload(std::move(params), files).ok());
  RunJobs();
  const ModelRecord before = RecordOf("lossy");
  ASSERT_TRUE(before.outcome().lossy());
  files_of_["lossy"] = ReadBack("lossy");
  Delete("base");
  EXPECT_EQ(RunGc().models_rewritten(), 1u);
  EXPECT_FALSE(HoldsBytesOf("base"));
  ExpectAllReadable();
  const ModelRecord after = RecordOf("lossy");
  EXPECT_EQ(after.digest(), before.digest());
  EXPECT_EQ(after.outcome().SerializeAsString(), before.outcome().SerializeAsString());
  EXPECT_TRUE((*Open("lossy"))->stored()->file().fidelity.has_value());
}

TEST_F(GcTest, ACrashAtAnyStepIsHarmless) {
  int crashes = 0;
  for (int steps = 0;; ++steps) {
    SCOPED_TRACE(steps);
    UploadFamily(2);
    ASSERT_TRUE(store_->models().Delete("base").ok());
    files_of_.erase("base");
    StartGc();
    crash_.steps_left = steps;
    TryJobs().IgnoreError();
    const bool crashed = crash_.crashed();
    Restart();
    ExpectAllReadable();
    clock_.Advance(absl::Hours(2));
    RunJobs();
    ExpectAllReadable();
    EXPECT_FALSE(HoldsBytesOf("base"));
    EXPECT_EQ(StoredBytes(), RecordOf("tuned1").stored_bytes() + RecordOf("tuned2").stored_bytes());
    Delete("tuned1");
    Delete("tuned2");
    RunGc();
    EXPECT_THAT(BlobHexes(), IsEmpty());
    EXPECT_THAT(catalog_.Scan({"blob", PrefixEnd("blob"), 10, false})->records, IsEmpty());
    EXPECT_THAT(catalog_.Scan({"model/", PrefixEnd("model/"), 10, false})->records, IsEmpty());
    if (!crashed) break;
    ++crashes;
  }
  EXPECT_GT(crashes, 20);
}

// The form that a commit had made the model's was given up when the commit's answer was an error.
TEST_F(GcTest, ACommitWhoseAnswerIsLostIsHarmless) {
  int lost = 0;
  for (int commits = 1;; ++commits) {
    SCOPED_TRACE(commits);
    UploadFamily(2);
    ASSERT_TRUE(store_->models().Delete("base").ok());
    files_of_.erase("base");
    StartGc();
    int left = commits;
    crash_.after_commit = [&]() -> absl::Status {
      return --left == 0 ? absl::InternalError("the answer is lost") : absl::OkStatus();
    };
    TryJobs().IgnoreError();
    crash_.after_commit = nullptr;
    ExpectAllReadable();
    clock_.Advance(absl::Hours(2));
    TryJobs().IgnoreError();
    clock_.Advance(absl::Hours(2));
    RunGc();
    ExpectAllReadable();
    EXPECT_FALSE(HoldsBytesOf("base"));
    Delete("tuned1");
    Delete("tuned2");
    RunGc();
    EXPECT_THAT(BlobHexes(), IsEmpty());
    if (left > 0) break;
    ++lost;
  }
  EXPECT_GT(lost, 10);
}

TEST_F(GcTest, GivesWayToJobsThatWait) {
  UploadFamily(2);
  Delete("base");
  const JobRecord gc = StartGc();
  ASSERT_TRUE(Upload("other", testing::SmallCheckpoint(4)).ok());
  JobQueue::Claim claim = *store_->jobs().ClaimNext();
  ASSERT_EQ(claim.job->record.id(), gc.id());
  EXPECT_EQ(ErrorReason(store_->runner().Run(*std::move(claim.job), [] { return false; })),
            "OTHERS_WAIT");
  EXPECT_EQ(store_->jobs().Get(gc.id())->record.gc_report().models_rewritten(), 1u);
  RunJobs();
  EXPECT_EQ(RecordOf("other").state(), ModelRecord::READY);
  clock_.Advance(absl::Seconds(1));
  RunJobs();
  const JobRecord ended = store_->jobs().Get(gc.id())->record;
  EXPECT_EQ(ended.state(), JobRecord::SUCCEEDED);
  EXPECT_EQ(ended.attempts(), 1u);
  EXPECT_EQ(ended.gc_report().models_rewritten(), 2u);
  EXPECT_EQ(ended.gc_report().models_freed(), 1u);
  ExpectAllReadable();
}

TEST_F(GcTest, ADamagedModelLeavesTheOthersAlone) {
  UploadFamily(1);
  UploadReady("base2", testing::SmallCheckpoint(20));
  UploadReady("tuned21", testing::SmallCheckpoint(20, 3), {"base2"});
  ASSERT_EQ(RecordOf("tuned21").storage_parent_id(), ids_["base2"]);
  for (const std::string& hex : PiecesOf(RecordOf("tuned1"))) {
    ASSERT_TRUE(blobs_.Delete(*Digest::FromHex(hex)).ok());
  }
  files_of_.erase("tuned1");
  Delete("base");
  Delete("base2");
  const GcReport report = RunGc();
  EXPECT_EQ(report.models_rewritten(), 1u);
  EXPECT_EQ(report.models_kept(), 1u);
  EXPECT_THAT(report.problems(), Contains(::testing::HasSubstr("tuned1")));
  EXPECT_TRUE(HoldsBytesOf("base"));
  EXPECT_FALSE(HoldsBytesOf("base2"));
  ExpectAllReadable();
}

TEST_F(GcTest, AskingAgainGivesTheJobThatWaits) {
  const std::string job = StartGc().id();
  EXPECT_EQ(StartGc().id(), job);
  RunJobs();
  EXPECT_NE(StartGc().id(), job);
}

// Two that would each be encoded against the other cannot both be.
TEST_F(GcTest, APlanCountsNoParentTwice) {
  UploadFamily(2);
  Delete("base");
  std::map<std::string, RewriteEstimate> rewrites;
  GcPlanSink sink;
  sink.deletion = [](const ExpiredModel&) { return absl::OkStatus(); };
  sink.freed = [](const std::string&, const std::string&, uint64_t) { return absl::OkStatus(); };
  sink.rewrite = [&](const RewriteEstimate& rewrite) {
    rewrites[rewrite.name] = rewrite;
    return absl::OkStatus();
  };
  sink.kept = [](const std::string&, const std::string&, const GcUnit&) {
    return absl::OkStatus();
  };
  sink.alive = [] { return absl::OkStatus(); };
  ASSERT_TRUE(store_->maintenance().PlanGc(sink).ok());
  ASSERT_EQ(rewrites.size(), 2u);
  EXPECT_EQ(rewrites["tuned1"].storage_parent_id, "");
  EXPECT_EQ(rewrites["tuned2"].storage_parent_id, ids_["tuned1"]);
  for (const auto& [name, rewrite] : rewrites) {
    const double estimated = static_cast<double>(rewrite.estimated_bytes);
    RunGc();
    EXPECT_NEAR(estimated, static_cast<double>(RecordOf(name).stored_bytes()), 0.02 * estimated);
  }
}

// Where the commit of a new form fails, and is there all the same from the next one on.
TEST_F(GcTest, AFormThatIsSeenLateKeepsItsBlobs) {
  UploadFamily(1);
  Delete("base");
  int broken = 0;
  crash_.breaks = [&](const Commit& commit) {
    const bool swaps_form = std::any_of(
        commit.puts.begin(), commit.puts.end(),
        [&](const Commit::Put& put) { return put.key == keys::StorageChoice(ids_["tuned1"]); });
    return swaps_form && broken++ == 0;
  };
  RunGc();
  crash_.breaks = nullptr;
  EXPECT_EQ(broken, 1);
  EXPECT_EQ(RecordOf("tuned1").storage_parent_id(), "");
  ExpectAllReadable();
  RunGc();
  ExpectAllReadable();
}

TEST_F(GcTest, ATagThatIsSetDuringADeletionGoesWithIt) {
  UploadReady("base", testing::SmallCheckpoint(1));
  UploadReady("other", testing::SmallCheckpoint(2));
  ASSERT_TRUE(store_->models().SetTag("tags", "moved", "base").ok());
  crash_.before_next_commit = [this] {
    ASSERT_TRUE(store_->models().SetTag("tags", "late", "base").ok());
    ASSERT_TRUE(store_->models().SetTag("tags", "moved", "other").ok());
  };
  ASSERT_TRUE(store_->models().Delete("base").ok());
  const Page<Tag> tags = *store_->models().ListTags("", "", 10);
  ASSERT_EQ(tags.items.size(), 1u);
  EXPECT_EQ(tags.items[0].tag, "moved");
  EXPECT_EQ(tags.items[0].record.model_id(), ids_["other"]);
  EXPECT_THAT(*store_->models().TagsOf(ids_["base"]), IsEmpty());
}

}  // namespace
}  // namespace wdelta
