// Deltas for a client that holds other models: which are sent, and that they lead to exactly
// what is served.
#include "storage/engine/delta_fetch/delta_route.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "tests/engine/delta_route_fixture.h"

namespace wdelta::testing {
namespace {

using store::v1::ModelRecord;
using ::testing::HasSubstr;

TEST_F(DeltaRouteTest, TheNearestAncestorsStoredDeltaIsSentAsItIs) {
  PushTunedChain();
  const std::vector<DeltaStep> steps = ExpectRoute("m3", "m2");
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_FALSE(steps[0].is_folded());
  EXPECT_EQ(steps[0].size_bytes, RecordOf("m3").stored_bytes());
  // Of several that are held, the one that costs the least.
  const auto best = Plan("m3", {"base", "m2", "m1"});
  ASSERT_TRUE(best.ok());
  ASSERT_EQ(best->size(), 1u);
  EXPECT_EQ(best->front().parent_id, RecordOf("m2").id());
  EXPECT_EQ(best->front().delta_id, steps[0].delta_id);
}

TEST_F(DeltaRouteTest, AChainIsFoldedWhereThatIsSmaller) {
  PushTunedChain();
  const std::vector<DeltaStep> steps = ExpectRoute("m3", "base");
  ASSERT_EQ(steps.size(), 1u);
  ASSERT_TRUE(steps[0].is_folded());
  uint64_t stored_bytes = 0;
  for (const char* name : {"m1", "m2", "m3"}) stored_bytes += RecordOf(name).stored_bytes();
  const std::string bytes = *BytesOf(steps[0]);
  EXPECT_LT(bytes.size(), stored_bytes * 15 / 16);
  EXPECT_NEAR(static_cast<double>(steps[0].size_bytes), static_cast<double>(bytes.size()),
              0.02 * static_cast<double>(bytes.size()));
  // Equal ids are equal bytes.
  const auto again = Plan("m3", {"id:" + RecordOf("base").id(), "m3@none", "none"});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->front().delta_id, steps[0].delta_id);
  EXPECT_TRUE(*BytesOf(again->front()) == bytes);
  EXPECT_NE(Plan("m2", {"base"})->front().delta_id, steps[0].delta_id);
}

TEST_F(DeltaRouteTest, AChainIsSentAsItIsWhereFoldingGainsNothing) {
  PushDisjointChain();
  const std::vector<DeltaStep> steps = ExpectRoute("d2", "base");
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_FALSE(steps[0].is_folded());
  EXPECT_FALSE(steps[1].is_folded());
  EXPECT_EQ(steps[0].model.id(), RecordOf("d1").id());
  EXPECT_EQ(steps[1].parent_id, RecordOf("d1").id());
  EXPECT_EQ(steps[1].model.id(), RecordOf("d2").id());
}

TEST_F(DeltaRouteTest, SiblingsAndDescendantsWillDo) {
  PushTunedChain();
  Push("sibling", FilesOf(Tuned(base_, 77), "{\"step\": 1}"), "base");
  for (const auto& [model, held] : {std::pair<std::string, std::string>{"m1", "sibling"},
                                    {"sibling", "m2"},
                                    {"base", "m1"},
                                    {"m1", "m3"}}) {
    const std::vector<DeltaStep> steps = ExpectRoute(model, held);
    ASSERT_EQ(steps.size(), 1u) << held << " to " << model;
    EXPECT_TRUE(steps[0].is_folded());
    EXPECT_EQ(steps[0].parent_id, RecordOf(held).id());
    EXPECT_LT(BytesOf(steps[0])->size(), RecordOf("base").stored_bytes());
  }
  // The model itself: next to nothing.
  const std::vector<DeltaStep> own = ExpectRoute("m2", "m2");
  ASSERT_EQ(own.size(), 1u);
  EXPECT_LT(BytesOf(own[0])->size(), 1000u);
}

TEST_F(DeltaRouteTest, AnUnrelatedModelIsNotBuiltUpon) {
  PushTunedChain();
  Push("stranger", FilesOf({RandomWeights("other", {400, 512}, 99)}));
  const std::vector<DeltaStep> root = ExpectRoute("base", "stranger");
  ASSERT_EQ(root.size(), 1u);
  EXPECT_EQ(root[0].parent_id, "");
  EXPECT_FALSE(root[0].is_folded());
  const std::vector<DeltaStep> alone = ExpectRoute("m2", "stranger");
  ASSERT_EQ(alone.size(), 1u);
  EXPECT_EQ(alone[0].parent_id, "");
  EXPECT_TRUE(alone[0].is_folded());
}

TEST_F(DeltaRouteTest, WhatIsStoredWithLossComesAsItIsServed) {
  Push("base", FilesOf(base_));
  StartUploadParams params;
  params.name = "lossy";
  params.parents.push_back({"base", {}, {}});
  params.fidelity.mutable_all()->set_strategy(store::v1::NEAR_LOSSLESS);
  params.fidelity.mutable_all()->set_relative_error(0.3);
  ASSERT_TRUE(Upload(params, FilesOf(Tuned(base_, 20))).ok());
  RunJobs();
  ASSERT_TRUE(RecordOf("lossy").outcome().lossy());
  Push("after", FilesOf(Tuned(Tuned(base_, 20), 30)), "lossy");
  Push("sibling", FilesOf(Tuned(base_, 77)), "base");

  const std::vector<DeltaStep> stored = ExpectRoute("lossy", "base");
  ASSERT_EQ(stored.size(), 1u);
  EXPECT_FALSE(stored[0].is_folded());
  const std::vector<DeltaStep> folded = ExpectRoute("lossy", "sibling");
  ASSERT_EQ(folded.size(), 1u);
  EXPECT_EQ(RecordOf("lossy").digest(), folded[0].model.digest());
  ExpectRoute("after", "base");
  ExpectRoute("after", "lossy");
  ExpectRoute("base", "lossy");
}

TEST_F(DeltaRouteTest, LeadsThroughADeletedModelAndFromOne) {
  PushDisjointChain();
  const std::string base_id = RecordOf("base").id();
  ASSERT_TRUE(store_->models().Delete("d1").ok());
  RunJobs();
  ASSERT_EQ(ExpectRoute("d2", "base").size(), 2u);
  ASSERT_TRUE(store_->models().Delete("base").ok());
  RunJobs();
  const auto steps = Plan("d2", {"id:" + base_id});
  ASSERT_TRUE(steps.ok()) << steps.status();
  ASSERT_EQ(steps->size(), 2u);
  EXPECT_EQ(steps->front().parent_id, base_id);
  EXPECT_EQ(ErrorReason(Plan("d2", {"base"}).status()), "NO_HELD_MODEL");
}

TEST_F(DeltaRouteTest, NothingOfARouteIsFreedWhileItLives) {
  PushDisjointChain();
  std::vector<DeltaStep> stored = *Plan("d2", {"base"});
  std::vector<DeltaStep> folded = *Plan("base", {"d2"});
  ASSERT_TRUE(folded[0].is_folded());
  const std::string expected = *BytesOf(folded[0]);
  for (const char* name : {"d2", "d1", "base"}) {
    ASSERT_TRUE(store_->models().Delete(name).ok());
  }
  const auto run_jobs = [&](bool can_free) {
    for (int i = 0; i < 5; ++i) {
      const absl::Status status = TryJobs();
      EXPECT_EQ(status.ok(), can_free) << status;
      clock_.Advance(absl::Minutes(5));
    }
  };
  run_jobs(false);
  for (const DeltaStep& step : stored) {
    const absl::Status status = BytesOf(step).status();
    EXPECT_TRUE(status.ok()) << status;
  }
  const absl::StatusOr<std::string> bytes = BytesOf(folded[0]);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_TRUE(*bytes == expected);
  stored.clear();
  folded.clear();
  run_jobs(true);
  EXPECT_TRUE(BlobHexes().empty());
}

TEST_F(DeltaRouteTest, PlanningStopsWhenNobodyWantsIt) {
  PushTunedChain();
  absl::StatusOr<DeltaRoutePlanner> planner =
      DeltaRoutePlanner::Open(Tools(), RecordOf("m3").id(), {"base"});
  ASSERT_TRUE(planner.ok()) << planner.status();
  EXPECT_TRUE(planner->MayFold());
  EXPECT_TRUE(planner->LeadsFromHeld());
  // Amid the work: some looks are let pass.
  int looks_left = 3;
  const auto steps = (*std::move(planner)).Best([&]() -> absl::Status {
    return looks_left-- > 0 ? absl::OkStatus() : absl::CancelledError("gone");
  });
  EXPECT_TRUE(absl::IsCancelled(steps.status())) << steps.status();
  // What is stored needs no look at any model.
  planner = DeltaRoutePlanner::Open(Tools(), RecordOf("m3").id(), {"base"});
  const auto stored = (*std::move(planner)).Stored();
  ASSERT_TRUE(stored.ok()) << stored.status();
  EXPECT_EQ(stored->size(), 3u);
  EXPECT_TRUE(Apply(*stored, "base") == ReadBack("m3"));
  EXPECT_FALSE(DeltaRoutePlanner::Open(Tools(), RecordOf("m3").id(), {"m2"})->MayFold());
}

TEST_F(DeltaRouteTest, DamageIsNamedByItsChunk) {
  PushTunedChain();
  const std::vector<DeltaStep> stored = *Plan("m3", {"m2"});
  const std::vector<DeltaStep> folded = *Plan("m3", {"base"});
  ASSERT_TRUE(folded[0].is_folded());
  const ModelRecord record = RecordOf("m3");
  uint64_t at = 0;
  {
    const auto reader = *WdeltaReader::Open(store_->reader().OpenDelta(record));
    const WdeltaFile& file = reader->file();
    for (const WdeltaStream& stream : file.streams) {
      if (stream.info.tensor.name == "a") at = file.chunks[stream.first_chunk + 1].payload_offset;
    }
  }
  DamageDelta(record, at + 100);
  for (const DeltaStep& step : {stored[0], folded[0]}) {
    const absl::Status status = BytesOf(step).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_EQ(ErrorReason(status), "BAD_WDELTA");
    EXPECT_THAT(std::string(status.message()), HasSubstr("model 'm3'"));
    EXPECT_THAT(std::string(status.message()), HasSubstr("(`a`) chunk 1"));
  }
  // In small pieces as well, those before the damage included.
  std::string piece(1000, '\0');
  uint64_t first_bad = 0;
  for (; first_bad < record.stored_bytes() - piece.size(); first_bad += piece.size()) {
    if (!stored[0].stored->Read(first_bad, piece.data(), piece.size()).ok()) break;
  }
  EXPECT_LE(first_bad, at);
  EXPECT_GT(first_bad + piece.size(), at);
}

TEST_F(DeltaRouteTest, SaysWhatIsWrongWithTheHeldModels) {
  Push("base", FilesOf(base_));
  EXPECT_EQ(ErrorReason(Plan("base", {"none", "base@none"}).status()), "NO_HELD_MODEL");
  EXPECT_EQ(ErrorReason(Plan("base", {"not a/valid/name"}).status()), "BAD_NAME");
  const std::vector<std::string> many(limits::kMaxHeldModels + 1, "base");
  EXPECT_EQ(ErrorReason(Plan("base", many).status()), "TOO_MANY_HELD_MODELS");
  ASSERT_TRUE(Upload("staged", FilesOf(Tuned(base_, 1))).ok());
  EXPECT_EQ(ErrorReason(Plan("base", {"staged"}).status()), "NO_HELD_MODEL");
  EXPECT_EQ(ErrorReason(Plan("staged", {"base"}).status()), "MODEL_NOT_READY");
}

}  // namespace
}  // namespace wdelta::testing
