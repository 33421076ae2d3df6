// Where a model goes in the store follows from what was measured, and is explained.
#include <algorithm>

#include "gmock/gmock.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;
using store::v1::StorageCandidate;
using store::v1::StorageChoiceRecord;
using ::testing::ElementsAre;
using testing::Files;
using ::testing::IsEmpty;
using testing::TestTensor;

class ParentChoiceTest : public testing::EngineTest {
 protected:
  ModelRecord Store(const std::string& name, const Files& files,
                    const std::vector<std::string>& parents = {}) {
    const absl::Status status = Upload(name, files, parents).status();
    EXPECT_TRUE(status.ok()) << status;
    RunJobs();
    EXPECT_EQ(ReadBack(name), files) << name;
    return RecordOf(name);
  }

  StorageChoiceRecord ChoiceOf(const std::string& name) {
    const Model model = *store_->models().Resolve(name);
    const absl::StatusOr<StorageChoiceRecord> choice = store_->models().StorageChoiceOf(model);
    EXPECT_TRUE(choice.ok()) << choice.status();
    return choice.value_or(StorageChoiceRecord());
  }

  static const StorageCandidate* Find(const StorageChoiceRecord& choice, const std::string& name) {
    const auto& all = choice.candidates();
    const auto found = std::find_if(all.begin(), all.end(),
                                    [&](const StorageCandidate& c) { return c.name() == name; });
    return found == all.end() ? nullptr : &*found;
  }

  static Files FilesOf(const std::vector<TestTensor>& tensors) {
    return {{"model.safetensors", testing::BuildSafetensors(tensors)}};
  }

  const Files base_ = testing::SmallCheckpoint(1);
  const Files tuned_ = testing::SmallCheckpoint(1, 7);
  const Files stranger_ = testing::SmallCheckpoint(900);
};

TEST_F(ParentChoiceTest, ARelativeIsFoundWithoutBeingDeclared) {
  const ModelRecord base = Store("base", base_);
  Store("stranger", stranger_);
  const ModelRecord tuned = Store("tuned", tuned_);
  EXPECT_EQ(tuned.storage_parent_id(), base.id());
  EXPECT_LT(tuned.stored_bytes(), tuned.raw_bytes() / 2);
  EXPECT_EQ(tuned.parents_size(), 0) << "lineage stays as declared";
  EXPECT_EQ(tuned.lineage_check().suggested_parent_id(), base.id());
  EXPECT_EQ(tuned.lineage_check().suggested_parent_name(), "base");
  // Nothing is like the stranger.
  EXPECT_EQ(RecordOf("stranger").storage_parent_id(), "");
  EXPECT_EQ(RecordOf("stranger").lineage_check().suggested_parent_id(), "");
}

TEST_F(ParentChoiceTest, AModelEncodedAgainstTheBestIsFoundToo) {
  Store("base", base_);
  const ModelRecord tuned = Store("tuned", tuned_);
  Files more = tuned_;
  more["config.json"] = "{}";
  const ModelRecord next = Store("next", more);
  EXPECT_EQ(next.storage_parent_id(), tuned.id());
  EXPECT_EQ(next.storage_depth(), 2u);
  EXPECT_LT(next.fetch_cost(), 2.5) << "tensors that are the parent's cost nothing of their own";
}

TEST_F(ParentChoiceTest, AWrongParentIsFlaggedAndNotUsed) {
  const ModelRecord base = Store("base", base_);
  const ModelRecord stranger = Store("stranger", stranger_);
  const ModelRecord tuned = Store("tuned", tuned_, {"stranger"});
  EXPECT_EQ(tuned.storage_parent_id(), base.id());
  EXPECT_EQ(tuned.parents(0).model_id(), stranger.id());
  EXPECT_THAT(tuned.lineage_check().doubtful_parent_ids(), ElementsAre(stranger.id()));
  EXPECT_EQ(tuned.lineage_check().suggested_parent_id(), base.id());
}

TEST_F(ParentChoiceTest, ATrueParentIsNotFlagged) {
  Store("base", base_);
  Store("stranger", stranger_);
  Store("sibling", testing::SmallCheckpoint(1, 8), {"base"});
  const ModelRecord tuned = Store("tuned", tuned_, {"base"});
  EXPECT_THAT(tuned.lineage_check().doubtful_parent_ids(), IsEmpty());
  EXPECT_EQ(tuned.lineage_check().suggested_parent_id(), "");
}

TEST_F(ParentChoiceTest, ASiblingMayBeTheBestParent) {
  Store("base", base_);
  const ModelRecord sibling = Store("sibling", tuned_, {"base"});
  Files close = tuned_;
  close["config.json"] = "{}";
  const ModelRecord model = Store("model", close, {"base"});
  EXPECT_EQ(model.storage_parent_id(), sibling.id());
  EXPECT_EQ(model.lineage_check().suggested_parent_id(), sibling.id());
  const StorageChoiceRecord choice = ChoiceOf("model");
  const StorageCandidate* candidate = Find(choice, "sibling");
  ASSERT_NE(candidate, nullptr);
  EXPECT_EQ(candidate->source(), StorageCandidate::SIBLING);
}

TEST_F(ParentChoiceTest, TheChoiceIsKeptAndExact) {
  Store("base", base_);
  Store("stranger", stranger_);
  const ModelRecord tuned = Store("tuned", tuned_, {"base"});
  const StorageChoiceRecord choice = ChoiceOf("tuned");
  ASSERT_EQ(choice.candidates_size(), 3);
  const StorageCandidate& chosen = choice.candidates(static_cast<int>(choice.chosen()));
  EXPECT_EQ(chosen.model_id(), tuned.storage_parent_id());
  EXPECT_EQ(chosen.source(), StorageCandidate::DECLARED);
  EXPECT_EQ(choice.max_chain_depth(), limits::kDefaultMaxChainDepth);
  EXPECT_NE(Find(choice, "stranger"), nullptr);
  EXPECT_NE(Find(choice, ""), nullptr) << "alone";
  // All of so small a model is the sample: only the tables of the file are left out.
  EXPECT_LE(chosen.estimated_bytes(), tuned.stored_bytes());
  EXPECT_GE(chosen.estimated_bytes() + 2000, tuned.stored_bytes());
  for (int i = 1; i < choice.candidates_size(); ++i) {
    EXPECT_LE(choice.candidates(i - 1).estimated_bytes(), choice.candidates(i).estimated_bytes());
  }
}

TEST_F(ParentChoiceTest, BoundsOnDepthAndCostAreKeptAndSaid) {
  storage_policy_.max_chain_depth = 1;
  Restart();
  Store("base", base_);
  Store("tuned", tuned_, {"base"});
  Files close = tuned_;
  close["config.json"] = "{}";
  EXPECT_EQ(Store("deep", close, {"tuned"}).storage_parent_id(), RecordOf("base").id());
  EXPECT_EQ(Find(ChoiceOf("deep"), "tuned")->refusal(), StorageCandidate::TOO_DEEP);

  storage_policy_.max_chain_depth = 4;
  storage_policy_.max_fetch_cost = 1.5;
  Restart();
  close["config.json"] = "[]";
  EXPECT_EQ(Store("costly", close, {"tuned"}).storage_parent_id(), "");
  EXPECT_EQ(Find(ChoiceOf("costly"), "base")->refusal(), StorageCandidate::TOO_COSTLY);
}

TEST_F(ParentChoiceTest, RenamedAndTiedTensorsAreMatchedByContent) {
  const TestTensor embed = testing::RandomWeights("embed.weight", {256, 640}, 1);
  const TestTensor other = testing::RandomWeights("other.weight", {256, 640}, 2);
  Store("base", FilesOf({embed, other}));
  TestTensor renamed = embed;
  renamed.name = "model.embed.weight";
  TestTensor tied = embed;
  tied.name = "lm_head.weight";
  TestTensor moved = other;
  const ModelRecord model = Store("model", FilesOf({moved, renamed, tied}), {"base"});
  EXPECT_EQ(model.storage_parent_id(), RecordOf("base").id());
  EXPECT_LT(model.stored_bytes(), 4000u);
}

TEST_F(ParentChoiceTest, AnEqualTensorOfAnUnrelatedModelIsNotStoredTwice) {
  const TestTensor embed = testing::RandomWeights("embed.weight", {256, 640}, 1);
  Store("one", FilesOf({embed, testing::RandomWeights("a.weight", {64, 640}, 2)}));
  TestTensor same = embed;
  same.name = "wte";
  const ModelRecord two =
      Store("two", FilesOf({same, testing::RandomWeights("b.weight", {64, 64}, 3)}));
  EXPECT_EQ(two.storage_parent_id(), RecordOf("one").id());
  EXPECT_LT(two.stored_bytes(), embed.data.size() / 10);
}

TEST_F(ParentChoiceTest, EqualContentSharesTheStoredForm) {
  Store("base", base_);
  const ModelRecord tuned = Store("tuned", tuned_, {"base"});
  const std::vector<std::string> blobs = BlobHexes();
  const ModelRecord again = Store("again", tuned_);
  Store("base-again", base_);
  EXPECT_EQ(BlobHexes(), blobs) << "a fine-tune as close would have cost bytes";
  EXPECT_EQ(again.digest(), tuned.digest());
  EXPECT_EQ(again.delta_digest(), tuned.delta_digest());
  EXPECT_EQ(again.storage_parent_id(), RecordOf("base").id());
  EXPECT_EQ(ChoiceOf("again").candidates(0).source(), StorageCandidate::TWIN);
  ASSERT_TRUE(store_->models().Delete("tuned").ok());
  ASSERT_TRUE(store_->models().Delete("base").ok());
  RunJobs();
  EXPECT_EQ(ReadBack("again"), tuned_);
}

TEST_F(ParentChoiceTest, ADamagedTwinIsNotShared) {
  const ModelRecord base = Store("base", base_);
  for (const store::v1::DeltaPiece& piece : base.delta_pieces()) {
    ASSERT_TRUE(blobs_.Delete(*Digest::FromBytes(piece.blob_digest())).ok());
  }
  Store("again", base_);
}

TEST_F(ParentChoiceTest, ADamagedCandidateIsPassedOver) {
  const ModelRecord base = Store("base", base_);
  for (const store::v1::DeltaPiece& piece : base.delta_pieces()) {
    ASSERT_TRUE(blobs_.Delete(*Digest::FromBytes(piece.blob_digest())).ok());
  }
  const ModelRecord tuned = Store("tuned", tuned_, {"base"});
  EXPECT_EQ(tuned.storage_parent_id(), "");
  EXPECT_EQ(Find(ChoiceOf("tuned"), "base")->refusal(), StorageCandidate::UNREADABLE);
}

TEST_F(ParentChoiceTest, DeletionLeavesNothingInTheIndex) {
  Store("base", base_);
  Store("tuned", tuned_);
  ASSERT_TRUE(store_->models().Delete("base").ok());
  // A model that is gone is not to be built upon.
  EXPECT_EQ(Store("later", testing::SmallCheckpoint(1, 9)).storage_parent_id(),
            RecordOf("tuned").id());
  ASSERT_TRUE(store_->models().Delete("tuned").ok());
  ASSERT_TRUE(store_->models().Delete("later").ok());
  RunJobs();
  for (const std::string prefix : {"storage_choice/", "indexed/", "layout/", "tensor/"}) {
    const ScanPage left = *catalog_.Scan({prefix, PrefixEnd(prefix), 10, false});
    EXPECT_TRUE(left.records.empty()) << left.records[0].key;
  }
  EXPECT_THAT(BlobHexes(), IsEmpty());
}

TEST_F(ParentChoiceTest, AModelThatIsNotReadyHasNoChoice) {
  ASSERT_TRUE(Upload("base", base_).ok());
  EXPECT_EQ(
      ErrorReason(store_->models().StorageChoiceOf(*store_->models().Resolve("base")).status()),
      "MODEL_NOT_READY");
}

}  // namespace
}  // namespace wdelta
