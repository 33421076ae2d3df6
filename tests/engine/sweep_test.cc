// What a crash may leave is found and removed, and nothing else.
#include <filesystem>
#include <utility>

#include "gmock/gmock.h"
#include "storage/base/error.h"
#include "storage/catalog/keys.h"
#include "tests/engine/gc_fixture.h"

namespace wdelta {
namespace {

using store::v1::GcReport;
using store::v1::ModelRecord;
using testing::Files;
using ::testing::IsEmpty;
using ::testing::Not;

using SweepTest = testing::GcFixture;

// The deletion of a chain goes on where it was interrupted, without a gc.
TEST_F(SweepTest, ACrashAmidstADeletionLeavesNoBytesBehind) {
  for (int steps = 0;; ++steps) {
    SCOPED_TRACE(steps);
    UploadFamily(1);
    Files files = testing::SmallCheckpoint(1, 11);
    files["config.json"] += "\n";
    UploadReady("leaf", files, {"tuned1"});
    for (const char* name : {"base", "tuned1", "leaf"}) {
      ASSERT_TRUE(store_->models().Delete(name).ok());
    }
    crash_.steps_left = steps;
    TryJobs().IgnoreError();
    const bool crashed = crash_.crashed();
    Restart();
    clock_.Advance(absl::Minutes(5));
    RunJobs();
    EXPECT_THAT(BlobHexes(), IsEmpty());
    RunGc();
    EXPECT_THAT(catalog_.Scan({"model/", PrefixEnd("model/"), 10, false})->records, IsEmpty());
    if (!crashed) break;
  }
}

TEST_F(SweepTest, SweepsWhatACrashMayLeave) {
  UploadReady("base", testing::SmallCheckpoint(1));
  const std::string stray_id = RecordOf("base").id();  // an id, but of no upload
  const auto put_blob = [&](const std::string& data) {
    EXPECT_TRUE(blobs_.Put(Digest::Of(data), data).ok());
    return Digest::Of(data).ToHex();
  };
  put_blob("without a claim");
  const std::string marked = put_blob("half deleted");
  store::v1::BlobRecord mark;
  mark.set_reclaiming(true);
  const std::string claimed = put_blob("claimed by nobody who lives");
  store::v1::BlobRecord claim;
  const std::string owner = RepackOwner(ids_["base"], "01jd7t0000000000000000000a");
  claim.add_model_ids(owner);
  Commit commit;
  commit.Write(keys::Blob(marked), mark.SerializeAsString());
  commit.Write(keys::Blob(claimed), claim.SerializeAsString());
  commit.Write(keys::BlobOf(owner, claimed), "");
  commit.Write(keys::Staged("01jd7t0000000000000000000b", 0), "");
  ASSERT_TRUE(catalog_.Apply(commit).ok());
  std::filesystem::create_directories(folder_ / stray_id);

  const Plan plan = PlanGc();
  EXPECT_EQ(plan.totals.swept.orphan_blobs, 2u);
  EXPECT_EQ(plan.totals.swept.orphan_claims, 1u);
  EXPECT_EQ(plan.totals.swept.orphan_uploads, 1u);  // the stray is too young
  clock_.Advance(absl::Hours(2));
  const GcReport report = RunGc();
  EXPECT_EQ(report.orphan_blobs(), 2u);
  EXPECT_EQ(report.orphan_claims(), 1u);
  EXPECT_EQ(report.freed_bytes(), plan.totals.freed_bytes);
  EXPECT_EQ(report.orphan_uploads(), 2u);
  EXPECT_EQ(report.old_records(), 0u);
  EXPECT_EQ(BlobHexes(), PiecesOf(RecordOf("base")));
  EXPECT_FALSE(std::filesystem::exists(folder_ / stray_id));
  ExpectAllReadable();
}

// The commit that made it failed, and is there all the same from the next one on.
TEST_F(SweepTest, AModelThatIsSeenLateKeepsItsBlobs) {
  UploadReady("base", testing::SmallCheckpoint(1));
  const std::vector<std::string> blobs = BlobHexes();
  const std::string model_key = keys::Model(ids_["base"]);
  const std::string record = (*catalog_.Get(model_key))->value;
  Commit erase;
  ASSERT_TRUE(catalog_.Apply(erase.Erase(model_key)).ok());
  int reads = 0;
  crash_.after_get = [&](absl::string_view key) {
    if (key != model_key || ++reads > 1) return;
    crash_.breaks = [](const Commit&) { return true; };
    Commit late;
    EXPECT_FALSE(catalog_.Apply(late.Write(model_key, record)).ok());
    crash_.breaks = nullptr;
  };
  const GcReport report = RunGc();
  crash_.after_get = nullptr;
  EXPECT_GE(reads, 2);
  EXPECT_EQ(report.orphan_claims(), 0u);
  EXPECT_EQ(BlobHexes(), blobs);
  ExpectAllReadable();
}

TEST_F(SweepTest, LeavesWorkInProgressAlone) {
  // Staged, and its job interrupted after some blobs were put.
  ASSERT_TRUE(Upload("half", testing::SmallCheckpoint(3)).ok());
  crash_.steps_left = 4;
  TryJobs().IgnoreError();
  Restart();
  StartUploadParams params;
  params.name = "open";
  params.request_id = "again";
  const UploadView open = *store_->uploads().Start(params);
  clock_.Advance(absl::Hours(30 * 24));
  const std::vector<std::string> blobs = BlobHexes();
  ASSERT_THAT(blobs, Not(IsEmpty()));
  // The gc runs first: it was asked for last, but the other job is held elsewhere.
  const JobQueue::Claim held = *store_->jobs().ClaimNext();
  ASSERT_TRUE(held.job.has_value());
  const GcReport report = RunGc();
  EXPECT_EQ(report.orphan_claims(), 0u);
  EXPECT_EQ(report.orphan_uploads(), 0u);
  EXPECT_EQ(BlobHexes(), blobs);
  EXPECT_TRUE(store_->uploads().Get(open.record.id()).ok());
  Restart();
  RunJobs();
  EXPECT_TRUE(ReadBack("half") == testing::SmallCheckpoint(3));
  EXPECT_EQ(store_->uploads().Start(params)->record.id(), open.record.id());
}

TEST_F(SweepTest, RecordsOfWhatEndedLongAgoGo) {
  StartUploadParams params;
  params.name = "base";
  params.request_id = "once";
  ASSERT_TRUE(Upload(params, testing::SmallCheckpoint(1)).ok());
  RunJobs();
  EXPECT_EQ(RunGc().old_records(), 0u);
  EXPECT_TRUE(catalog_.Get(keys::Request("once"))->has_value());
  clock_.Advance(absl::Hours(8 * 24));
  // An upload, its job, and the job of the gc before.
  EXPECT_EQ(RunGc().old_records(), 3u);
  EXPECT_FALSE(catalog_.Get(keys::Request("once"))->has_value());
  Restart();
  EXPECT_TRUE(ReadBack("base") == testing::SmallCheckpoint(1));
}

// What is served from its staged bytes needs the upload's record: without it they would be
// taken for strays at the next start.
TEST_F(SweepTest, TheUploadOfAModelThatIsStillStagedStays) {
  const absl::StatusOr<FinishedUpload> upload = Upload("base", testing::SmallCheckpoint(1));
  ASSERT_TRUE(upload.ok());
  ASSERT_TRUE(store_->jobs().RequestCancel(upload->job_id).ok());
  clock_.Advance(absl::Hours(8 * 24));
  RunGc();
  Restart();
  EXPECT_TRUE(ReadBack("base") == testing::SmallCheckpoint(1));
}

// A worker that was held up for longer than its lease must not commit what it made.
TEST_F(SweepTest, AJobThatWasTakenOverCommitsNothing) {
  ASSERT_TRUE(Upload("base", testing::SmallCheckpoint(1)).ok());
  JobQueue::Claim slow = *store_->jobs().ClaimNext();
  ASSERT_TRUE(slow.job.has_value());
  ModelStoreOptions options;
  options.staging_dir = folder_.path();
  ModelStore other_daemon({&blobs_, &catalog_, files_.get(), &clock_}, options);
  bool is_first = true;
  const auto stall = [&] {
    if (std::exchange(is_first, false)) {
      clock_.Advance(absl::Minutes(5));
      JobQueue::Claim claim = *other_daemon.jobs().ClaimNext();
      EXPECT_TRUE(claim.job.has_value());
      EXPECT_TRUE(other_daemon.runner().Run(*std::move(claim.job), [] { return false; }).ok());
    }
    return false;
  };
  const absl::Status status = store_->runner().Run(*std::move(slow.job), stall);
  EXPECT_EQ(ErrorReason(status), "LEASE_LOST") << status;
  EXPECT_EQ(RecordOf("base").state(), ModelRecord::READY);
  RunGc();
  EXPECT_TRUE(ReadBack("base") == testing::SmallCheckpoint(1));
}

}  // namespace
}  // namespace wdelta
