#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "storage/engine/gc/maintenance.h"
#include "storage/wdelta/wdelta_reader.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;
using store::v1::ScrubDamage;
using store::v1::ScrubReport;
using ::testing::HasSubstr;

constexpr char kPath[] = "model.safetensors";

class ScrubTest : public testing::EngineTest {
 protected:
  ScrubTest() {
    const auto a = testing::RandomWeights("a", {512, 512}, 1);
    const auto b = testing::RandomWeights("b", {512, 512}, 2);
    base_ = {{kPath, testing::BuildSafetensors({a, b})}};
    // `b` has another shape: nothing of it is coded against the base.
    half_ = {{kPath, testing::BuildSafetensors(
                         {testing::FineTuned(a, 3), testing::RandomWeights("b", {100, 300}, 4)})}};
    full_ = {
        {kPath, testing::BuildSafetensors({testing::FineTuned(a, 5), testing::FineTuned(b, 6)})}};
  }

  void UploadAll() {
    ASSERT_TRUE(Upload("base", base_).ok());
    RunJobs();
    ASSERT_TRUE(Upload("half", half_, {"base"}).ok());
    ASSERT_TRUE(Upload("full", full_, {"base"}).ok());
    RunJobs();
    ASSERT_EQ(RecordOf("half").storage_parent_id(), RecordOf("base").id());
    ASSERT_EQ(RecordOf("full").storage_parent_id(), RecordOf("base").id());
  }
  // Flips a bit in the last chunk of a tensor.
  void DamageTensor(const std::string& name, const std::string& tensor) {
    const ModelRecord record = RecordOf(name);
    const auto reader = *WdeltaReader::Open(store_->reader().OpenDelta(record));
    for (const WdeltaStream& stream : reader->file().streams) {
      if (stream.info.tensor.name != tensor) continue;
      const WdeltaChunk& chunk = reader->file().chunks[stream.first_chunk + stream.chunk_count - 1];
      DamageDelta(record, chunk.payload_offset + chunk.payload_bytes / 2);
    }
  }
  std::string StartScrub(bool repair) {
    const absl::StatusOr<std::string> job = store_->maintenance().StartScrub(repair);
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? *job : "";
  }
  ScrubReport ReportOf(const std::string& job) {
    return store_->jobs().Get(job)->record.scrub_report();
  }
  ScrubReport Scrub(bool repair = false) {
    const std::string job = StartScrub(repair);
    RunJobs();
    EXPECT_EQ(store_->jobs().Get(job)->record.state(), store::v1::JobRecord::SUCCEEDED);
    return ReportOf(job);
  }
  static std::vector<std::string> AffectedBy(const ScrubDamage& damage) {
    std::vector<std::string> names;
    for (const auto& model : damage.affected()) names.push_back(model.model_name());
    return names;
  }

  testing::Files base_, half_, full_;
};

TEST_F(ScrubTest, FindsNothingInAnUndamagedStore) {
  UploadAll();
  ASSERT_TRUE(Upload("staged", half_).ok());
  const ScrubReport report = Scrub();
  EXPECT_EQ(report.damage_count(), 0u);
  EXPECT_GE(report.model_count(), 3u);
  EXPECT_GE(report.blob_count(), 3u);
}

TEST_F(ScrubTest, NamesWhatIsDamagedAndWhomItTouches) {
  UploadAll();
  DamageTensor("base", "b");
  const ScrubReport report = Scrub();
  ASSERT_EQ(report.damages_size(), 1);
  const ScrubDamage& damage = report.damages(0);
  EXPECT_EQ(damage.model_name(), "base");
  EXPECT_FALSE(damage.is_total());
  EXPECT_EQ(damage.lost_chunk_count(), 1u);
  EXPECT_THAT(damage.lost(0), HasSubstr("tensor 'b' of model.safetensors, bytes "));
  EXPECT_THAT(AffectedBy(damage), ::testing::UnorderedElementsAre("base", "full"));

  // Only they fail, and the error names the place.
  Restart();  // forgets decoded chunks
  EXPECT_EQ(ReadBack("half"), half_);
  const ContentSourcePtr source = *Open("full");
  std::string bytes(512 * 512 * 2, '\0');
  const absl::Status lost = source->Read(2, 0, bytes.size(), bytes.data());
  EXPECT_TRUE(absl::IsDataLoss(lost)) << lost;
  EXPECT_THAT(std::string(lost.message()), HasSubstr("model 'full'"));
  EXPECT_THAT(std::string(lost.message()), HasSubstr("model 'base'"));
  EXPECT_THAT(std::string(lost.message()), HasSubstr("`b`"));
  EXPECT_TRUE(source->Read(1, 0, bytes.size(), bytes.data()).ok());
}

TEST_F(ScrubTest, CountsAllOfManyThatAreTouchedAndListsAFew) {
  const testing::TestTensor weights = testing::RandomWeights("a", {16, 512}, 1);
  ASSERT_TRUE(Upload("base", {{kPath, testing::BuildSafetensors({weights})}}).ok());
  RunJobs();
  constexpr int kCount = 70;
  for (int i = 1; i <= kCount; ++i) {
    const testing::Files files = {
        {kPath, testing::BuildSafetensors({testing::FineTuned(weights, i)})}};
    ASSERT_TRUE(Upload(absl::StrCat("tuned", i), files, {"base"}).ok());
    RunJobs();
  }
  const ModelRecord base = RecordOf("base");
  ASSERT_TRUE(blobs_.Delete(*Digest::FromBytes(base.delta_pieces(0).blob_digest())).ok());
  const ScrubReport report = Scrub();
  ASSERT_EQ(report.damages_size(), 1);
  EXPECT_EQ(report.damages(0).blob_count(), 1u);
  EXPECT_EQ(report.damages(0).affected_count(), 1u + kCount);
  EXPECT_EQ(report.damages(0).affected_size(), 50);
}

TEST_F(ScrubTest, AMissingBlobIsTotal) {
  UploadAll();
  const ModelRecord base = RecordOf("base");
  ASSERT_TRUE(blobs_.Delete(*Digest::FromBytes(base.delta_pieces(0).blob_digest())).ok());
  const ScrubReport report = Scrub();
  ASSERT_EQ(report.damages_size(), 1);
  EXPECT_TRUE(report.damages(0).is_total());
  EXPECT_THAT(AffectedBy(report.damages(0)),
              ::testing::UnorderedElementsAre("base", "half", "full"));
}

TEST_F(ScrubTest, WhatNobodyHasIsNotRepaired) {
  UploadAll();
  DamageTensor("base", "b");
  const ScrubReport report = Scrub(true);
  ASSERT_EQ(report.damages_size(), 1);
  EXPECT_EQ(report.repaired_count(), 0u);
  EXPECT_THAT(report.damages(0).repair_note(), HasSubstr("tensor 'b'"));
}

TEST_F(ScrubTest, PushingTheCheckpointAgainMends) {
  UploadAll();
  DamageTensor("base", "b");
  ASSERT_TRUE(Upload("again", base_).ok());
  RunJobs();
  EXPECT_EQ(ReadBack("again"), base_);
  const ScrubReport report = Scrub(true);
  EXPECT_EQ(report.damage_count(), report.repaired_count());
  EXPECT_EQ(ReadBack("base"), base_);
  EXPECT_EQ(ReadBack("full"), full_);
  EXPECT_EQ(Scrub().damage_count(), 0u);
}

TEST_F(ScrubTest, RepairsFromAnUploadOfTheSameContent) {
  UploadAll();
  const ModelRecord before = RecordOf("base");
  ASSERT_TRUE(blobs_.Delete(*Digest::FromBytes(before.delta_pieces(0).blob_digest())).ok());
  const std::string job = StartScrub(true);
  ASSERT_TRUE(Upload("again", base_).ok());  // runs after the scrub
  RunJobs();
  const ScrubReport report = ReportOf(job);
  ASSERT_EQ(report.damages_size(), 1);
  EXPECT_TRUE(report.damages(0).is_repaired()) << report.damages(0).repair_note();
  EXPECT_EQ(RecordOf("base").digest(), before.digest());
  EXPECT_EQ(ReadBack("base"), base_);
  EXPECT_EQ(ReadBack("full"), full_);
  EXPECT_EQ(Scrub().damage_count(), 0u);
}

TEST_F(ScrubTest, RepairsATensorFromAModelThatHasIt) {
  // One has the base's `b` under another name, encoded against something else, so that they
  // share no blob; the base is stored on its own.
  auto renamed = testing::RandomWeights("b", {512, 512}, 2);
  renamed.name = "c";
  const testing::Files other = {
      {kPath, testing::BuildSafetensors({testing::FineTuned(renamed, 9)})}};
  ASSERT_TRUE(Upload("other", other).ok());
  RunJobs();
  ASSERT_TRUE(Upload("apart", {{kPath, testing::BuildSafetensors({renamed})}}, {"other"}).ok());
  RunJobs();
  ASSERT_EQ(RecordOf("apart").storage_parent_id(), RecordOf("other").id());
  storage_policy_.max_chain_depth = 0;
  Restart();
  ASSERT_TRUE(Upload("base", base_).ok());
  RunJobs();
  DamageTensor("base", "b");
  const ScrubReport report = Scrub(true);
  ASSERT_EQ(report.damages_size(), 1);
  EXPECT_TRUE(report.damages(0).is_repaired()) << report.damages(0).repair_note();
  EXPECT_EQ(ReadBack("base"), base_);
}

TEST_F(ScrubTest, ADamagedUploadIsFound) {
  ASSERT_TRUE(Upload("base", base_).ok());
  const std::string job = StartScrub(false);
  const ModelRecord record = RecordOf("base");
  const std::string file = folder_ / (record.staging_id() + "/00000000");
  std::FILE* staged = std::fopen(file.c_str(), "r+b");
  ASSERT_NE(staged, nullptr);
  std::fseek(staged, 1000, SEEK_SET);
  std::fputc(base_[kPath][1000] ^ 1, staged);
  std::fclose(staged);
  (void)TryJobs();
  const ScrubReport report = ReportOf(job);
  // The ingest, which came first, refuses the bytes; either way they are reported.
  ASSERT_EQ(report.damages_size(), 1);
  EXPECT_THAT(report.damages(0).problem(), HasSubstr(kPath));
}

TEST_F(ScrubTest, OnlyOneRunsAtATime) {
  const std::string first = StartScrub(false);
  EXPECT_EQ(StartScrub(true), first);
  RunJobs();
  EXPECT_NE(StartScrub(true), first);
}

}  // namespace
}  // namespace wdelta
