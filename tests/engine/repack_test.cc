// A repack changes how a model is stored and nothing else, whatever happens meanwhile.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "tests/engine/engine_fixture.h"
#include "tests/engine/low_rank_tensors.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta {
namespace {

using store::v1::JobRecord;
using store::v1::ModelRecord;
using testing::Files;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAreArray;

class RepackTest : public testing::EngineTest {
 protected:
  void RestartWithChainDepth(uint32_t max_chain_depth) {
    storage_policy_.max_chain_depth = max_chain_depth;
    Restart();
  }

  // `tuned` is encoded against another fine-tune of `base`, which was not there yet.
  void UploadBadlyPlaced() {
    ASSERT_TRUE(Upload("stranger", testing::SmallCheckpoint(1, 900)).ok());
    RunJobs();
    ASSERT_TRUE(Upload("tuned", tuned_, {"stranger"}).ok());
    RunJobs();
    UploadAlone("base", testing::SmallCheckpoint(1));
    before_ = RecordOf("tuned");
    ASSERT_EQ(before_.storage_parent_id(), RecordOf("stranger").id());
  }

  void UploadAlone(const std::string& name, const Files& files) {
    RestartWithChainDepth(0);
    ASSERT_TRUE(Upload(name, files).ok());
    RunJobs();
    ASSERT_EQ(RecordOf(name).storage_parent_id(), "");
    RestartWithChainDepth(limits::kDefaultMaxChainDepth);
  }

  std::string Repack(const std::string& model) {
    const absl::StatusOr<std::string> job = store_->models().Repack(model, store::v1::MAX);
    EXPECT_TRUE(job.ok()) << job.status();
    return job.value_or("");
  }

  JobRecord::State StateOfJob(const std::string& job) {
    return store_->jobs().Get(job)->record.state();
  }

  // Every blob is named by a model, and every claim belongs to a blob.
  void ExpectNothingLeftBehind(const std::vector<std::string>& models) {
    std::set<std::string> named;
    size_t claim_count = 0;
    for (const std::string& model : models) {
      const ModelRecord record = RecordOf(model);
      EXPECT_THAT(record.retired_owners(), IsEmpty());
      const std::vector<std::string> pieces = PiecesOf(record);
      const std::set<std::string> own(pieces.begin(), pieces.end());
      claim_count += own.size();
      named.insert(own.begin(), own.end());
    }
    EXPECT_THAT(BlobHexes(), UnorderedElementsAreArray(named));
    const ScanPage claims = *catalog_.Scan({"blob_of/", PrefixEnd("blob_of/"), 100, false});
    EXPECT_EQ(claims.records.size(), claim_count);
    const ScanPage queue = *catalog_.Scan({"queue/", PrefixEnd("queue/"), 100, false});
    EXPECT_TRUE(queue.records.empty());
  }

  const Files tuned_ = testing::SmallCheckpoint(1, 7);
  ModelRecord before_;
};

TEST_F(RepackTest, TakesTheBetterStorageParent) {
  UploadBadlyPlaced();
  const std::string job = Repack("tuned");
  RunJobs();
  EXPECT_EQ(StateOfJob(job), JobRecord::SUCCEEDED);
  const ModelRecord after = RecordOf("tuned");
  EXPECT_EQ(after.storage_parent_id(), RecordOf("base").id());
  EXPECT_LT(after.stored_bytes(), before_.stored_bytes());
  EXPECT_LE(after.storage_depth(), before_.storage_depth());
  EXPECT_EQ(after.digest(), before_.digest());
  EXPECT_EQ(ReadBack("tuned"), tuned_);
  ExpectNothingLeftBehind({"stranger", "base", "tuned"});

  // The stranger is not needed any more, the base is.
  ASSERT_TRUE(store_->models().Delete("stranger").ok());
  ASSERT_TRUE(store_->models().Delete("base").ok());
  RunJobs();
  EXPECT_EQ(ReadBack("tuned"), tuned_);
  ASSERT_TRUE(store_->models().Delete("tuned").ok());
  RunJobs();
  EXPECT_THAT(BlobHexes(), IsEmpty());
}

TEST_F(RepackTest, KeepsTheOldFormWhenTheNewOneIsNoSmaller) {
  ASSERT_TRUE(Upload("base", testing::SmallCheckpoint(1)).ok());
  ASSERT_TRUE(Upload("tuned", tuned_, {"base"}).ok());
  RunJobs();
  Repack("tuned");
  RunJobs();
  const ModelRecord once = RecordOf("tuned");
  EXPECT_EQ(ReadBack("tuned"), tuned_);
  const std::string job = Repack("tuned");
  RunJobs();
  EXPECT_EQ(StateOfJob(job), JobRecord::SUCCEEDED);
  EXPECT_EQ(RecordOf("tuned").delta_digest(), once.delta_digest());
  EXPECT_EQ(ReadBack("tuned"), tuned_);
  ExpectNothingLeftBehind({"base", "tuned"});
}

// Adds to each row's weights up to a bound of its own.
testing::TestTensor TunedByRow(testing::TestTensor tensor, uint32_t seed) {
  std::mt19937 random(seed);
  for (size_t i = 0; 2 * i < tensor.data.size(); ++i) {
    const auto row = static_cast<int>(i / tensor.shape.back());
    const float bound = std::ldexp(0.001f, row * 3 % 7 - 3);
    uint32_t bits = 0;
    std::memcpy(reinterpret_cast<char*>(&bits) + 2, &tensor.data[2 * i], 2);
    auto weight = std::bit_cast<float>(bits);
    weight += bound * (static_cast<float>(random() % 2001) / 1000 - 1);
    bits = std::bit_cast<uint32_t>(weight);
    std::memcpy(&tensor.data[2 * i], reinterpret_cast<const char*>(&bits) + 2, 2);
  }
  return tensor;
}

TEST_F(RepackTest, MaxEffortKnowsWhichRowsChangeMore) {
  const testing::TestTensor weights = testing::RandomWeights("w", {500, 240}, 1);
  const Files tuned = {{"model.safetensors", testing::BuildSafetensors({TunedByRow(weights, 2)})}};
  ASSERT_TRUE(Upload("base", {{"model.safetensors", testing::BuildSafetensors({weights})}}).ok());
  ASSERT_TRUE(Upload("tuned", tuned, {"base"}).ok());
  RunJobs();
  const ModelRecord before = RecordOf("tuned");
  ASSERT_EQ(before.storage_parent_id(), RecordOf("base").id());
  Repack("tuned");
  RunJobs();
  EXPECT_LT(RecordOf("tuned").stored_bytes(), before.stored_bytes() * 95 / 100);
  EXPECT_EQ(ReadBack("tuned"), tuned);
}

// What is looked at ahead holds nothing up, and a later run starts over.
TEST_F(RepackTest, AStopBreaksOffTheSearchForLowRanks) {
  std::vector<testing::TestTensor> base, merged;
  for (uint32_t i = 0; i < 24; ++i) {
    base.push_back(testing::Weights(DType::kBF16, 512, 512, i));
    base.back().name = absl::StrCat("w", i);
    merged.push_back(testing::Merged(base.back(), 3, 6e-4f, DType::kBF16));
  }
  const Files files = {{testing::kPath, testing::BuildSafetensors(merged)}};
  UploadAlone("merged", files);
  UploadAlone("base", {{testing::kPath, testing::BuildSafetensors(base)}});
  before_ = RecordOf("merged");
  const std::string job = Repack("merged");
  int stops = 0;
  for (int asked_before = 4;; asked_before += asked_before / 2) {
    SCOPED_TRACE(asked_before);
    absl::StatusOr<JobQueue::Claim> claim = store_->jobs().ClaimNext();
    ASSERT_TRUE(claim.ok() && claim->job.has_value());
    int asked = 0;
    const absl::Status ran =
        store_->runner().Run(*std::move(claim->job), [&] { return ++asked > asked_before; });
    if (ran.ok()) break;
    ++stops;
    EXPECT_EQ(ErrorReason(ran), "STOPPING") << ran;
    EXPECT_EQ(StateOfJob(job), JobRecord::PENDING);
    EXPECT_EQ(RecordOf("merged").delta_digest(), before_.delta_digest());
    clock_.Advance(absl::Minutes(5));
  }
  EXPECT_GE(stops, 4);
  RunJobs();
  EXPECT_EQ(StateOfJob(job), JobRecord::SUCCEEDED);
  EXPECT_EQ(RecordOf("merged").storage_parent_id(), RecordOf("base").id());
  EXPECT_LT(2 * RecordOf("merged").stored_bytes(), before_.stored_bytes());
  EXPECT_EQ(ReadBack("merged"), files);
  ExpectNothingLeftBehind({"base", "merged"});
}

TEST_F(RepackTest, AskingAgainGivesTheJobThatWaits) {
  UploadBadlyPlaced();
  const std::string job = Repack("tuned");
  EXPECT_EQ(Repack("tuned"), job);
  RunJobs();
  EXPECT_NE(Repack("tuned"), job);
}

TEST_F(RepackTest, ModelsEncodedAgainstItStayReadable) {
  UploadBadlyPlaced();
  Files child = tuned_;
  child["config.json"] += "\n";
  ASSERT_TRUE(Upload("child", child, {"tuned"}).ok());
  RunJobs();
  ASSERT_EQ(RecordOf("child").storage_parent_id(), before_.id());
  const ContentSourcePtr open_child = *Open("child");
  Repack("tuned");
  TryJobs().IgnoreError();
  EXPECT_NE(RecordOf("tuned").delta_digest(), before_.delta_digest());
  EXPECT_EQ(ReadBack("child"), child);
  EXPECT_EQ(ReadAll(open_child), child);
}

TEST_F(RepackTest, ARunningFetchOfTheOldFormGoesOnToItsEnd) {
  UploadBadlyPlaced();
  ContentSourcePtr old_form = *Open("tuned");
  Repack("tuned");
  // The job that frees the old form finds it in use and waits.
  EXPECT_EQ(ErrorReason(TryJobs()), "MODEL_IN_USE");
  // The longer it waits, the less often it looks.
  clock_.Advance(absl::Minutes(1));
  EXPECT_EQ(ErrorReason(TryJobs()), "MODEL_IN_USE");
  clock_.Advance(absl::Seconds(2));
  EXPECT_TRUE(TryJobs().ok());
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(ErrorReason(TryJobs()), "MODEL_IN_USE");
  EXPECT_NE(RecordOf("tuned").delta_digest(), before_.delta_digest());
  EXPECT_EQ(ReadAll(old_form), tuned_);
  EXPECT_EQ(ReadBack("tuned"), tuned_);
  EXPECT_NE(*Open("tuned"), old_form);
  // Asked for by whoever still has the old record, it is the new form that opens.
  EXPECT_NE(*store_->reader().Open(before_), old_form);

  // Even its storage parent stays for as long as it is read.
  ASSERT_TRUE(store_->models().Delete("stranger").ok());
  TryJobs().IgnoreError();
  EXPECT_EQ(ReadAll(old_form), tuned_);
  old_form.reset();
  clock_.Advance(absl::Minutes(1));
  RunJobs();
  EXPECT_EQ(ReadBack("tuned"), tuned_);
  ExpectNothingLeftBehind({"base", "tuned"});
}

TEST_F(RepackTest, OldRecordsOpenTheNewFormOnceTheOldOneIsGone) {
  UploadBadlyPlaced();
  Repack("tuned");
  RunJobs();
  ASSERT_TRUE(store_->models().Delete("stranger").ok());
  RunJobs();
  const absl::StatusOr<ContentSourcePtr> source = store_->reader().Open(before_);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ(ReadAll(*source), tuned_);
}

TEST_F(RepackTest, ACrashAtAnyStepIsHarmless) {
  UploadBadlyPlaced();
  const std::vector<std::string> all = {"stranger", "base", "tuned"};
  int crashes = 0;
  for (int steps = 0;; ++steps) {
    SCOPED_TRACE(steps);
    // Back to a bad place: a new version under another name.
    const std::string name = "tuned" + std::to_string(steps);
    UploadAlone(name, tuned_);
    const ModelRecord before = RecordOf(name);
    Repack(name);
    crash_.steps_left = steps;
    TryJobs().IgnoreError();
    const bool crashed = crash_.crashed();
    Restart();
    EXPECT_EQ(ReadBack(name), tuned_);
    clock_.Advance(absl::Minutes(1));
    RunJobs();
    EXPECT_EQ(ReadBack(name), tuned_);
    EXPECT_LT(RecordOf(name).stored_bytes(), before.stored_bytes());
    ASSERT_TRUE(store_->models().Delete(name).ok());
    RunJobs();
    ExpectNothingLeftBehind(all);
    if (!crashed) break;
    ++crashes;
  }
  EXPECT_GT(crashes, 8);
}

TEST_F(RepackTest, DeletionMeanwhileEndsTheJobAndLeavesNothing) {
  UploadBadlyPlaced();
  const std::string job = Repack("tuned");
  ASSERT_TRUE(store_->models().Delete("tuned").ok());
  TryJobs().IgnoreError();
  EXPECT_EQ(StateOfJob(job), JobRecord::CANCELLED);
  ExpectNothingLeftBehind({"stranger", "base"});
}

TEST_F(RepackTest, RefusesAModelThatIsNotReady) {
  ASSERT_TRUE(Upload("base", testing::SmallCheckpoint(1)).ok());
  EXPECT_EQ(ErrorReason(store_->models().Repack("base", store::v1::FAST).status()),
            "MODEL_NOT_READY");
  EXPECT_EQ(ErrorReason(store_->models().Repack("nobody", store::v1::FAST).status()),
            "MODEL_NOT_FOUND");
}

}  // namespace
}  // namespace wdelta
