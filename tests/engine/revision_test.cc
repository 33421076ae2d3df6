// New versions that have the tensors of a stored one.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "storage/base/error.h"
#include "storage/catalog/keys.h"
#include "tests/engine/revision_fixture.h"

namespace wdelta::testing {
namespace {

using store::v1::ModelRecord;
using ::testing::ElementsAreArray;
using ::testing::Gt;
using ::testing::Lt;
using ::testing::UnorderedElementsAreArray;

// Far less than the tensors take: the changed files, and what is known of all of them.
constexpr uint64_t kFewBytes = 4096;

TEST_F(RevisionTest, SharesTheBytesOfWhatItKeeps) {
  const ModelRecord before = RecordOf("tuned");
  const uint64_t bytes_before = StoredBytes();
  const Files files = WithCard(tuned_);
  const absl::StatusOr<Model> made = Revise("tuned", files);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_THAT(StoredBytes() - bytes_before, Lt(kFewBytes));
  EXPECT_THAT(before.stored_bytes(), Gt(10 * kFewBytes));
  const ModelRecord record = RecordOf("tuned");
  EXPECT_EQ(record.id(), made->record.id());
  EXPECT_EQ(record.state(), ModelRecord::READY);
  EXPECT_EQ(record.storage_parent_id(), ids_["base"]);
  EXPECT_EQ(record.storage_depth(), before.storage_depth());
  EXPECT_EQ(record.tensor_count(), before.tensor_count());
  EXPECT_EQ(record.run_position(), before.run_position() + 1);
  EXPECT_EQ(record.labels().at("team"), "a");
  EXPECT_EQ(ReadBack("tuned"), files);
  EXPECT_EQ(ReadBack("id:" + before.id()), tuned_);
  // A root, too, and a version of a version.
  const Files root = WithCard(base_, std::string(200'000, 'x'));
  ASSERT_TRUE(Revise("base", root).ok());
  EXPECT_EQ(ReadBack("base"), root);
  ASSERT_TRUE(Revise("tuned", WithCard(tuned_, "# 2\n")).ok());
  EXPECT_EQ(ReadBack("tuned"), WithCard(tuned_, "# 2\n"));
  Restart();
  EXPECT_EQ(ReadBack("tuned"), WithCard(tuned_, "# 2\n"));
}

TEST_F(RevisionTest, FilesMoveAndGo) {
  Files files;
  files["copy/model.safetensors"] = tuned_.at(kWeights);
  files["model-00001-of-00001.safetensors"] = tuned_.at(kWeights);
  files["empty.txt"] = "";
  ASSERT_TRUE(Revise("tuned", files).ok());
  EXPECT_EQ(ReadBack("tuned"), files);
  files.erase("copy/model.safetensors");
  files["model.safetensors.index.json"] =
      R"({"metadata": {}, "weight_map": {"none": "model-00001-of-00001.safetensors"}})";
  const absl::StatusOr<Model> refused = Revise("tuned", files);
  EXPECT_EQ(ErrorReason(refused.status()), "BAD_INDEX") << refused.status();
  EXPECT_EQ(ErrorReason(Revise("tuned", {{"a.safetensors", "x"}}).status()), "BAD_PATH");
  EXPECT_EQ(ErrorReason(Revise("tuned", {{"a.bin", tuned_.at(kWeights)}}).status()), "BAD_PATH");
}

TEST_F(RevisionTest, OneOfManyNewFilesIsOpenAtATime) {
  Files files = tuned_;
  for (int i = 0; i < 100; ++i) files[absl::StrCat("notes/", i)] = absl::StrCat("note ", i);
  const absl::StatusOr<Model> made = Revise("tuned", files);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(max_open_files_, 1);
  EXPECT_EQ(open_files_, 0);
  EXPECT_EQ(ReadBack("tuned"), files);
}

TEST_F(RevisionTest, EitherStaysWholeWithoutTheOther) {
  const std::string old_id = RecordOf("tuned").id();
  const std::vector<std::string> blobs_before = BlobHexes();
  ASSERT_TRUE(Revise("tuned", WithCard(tuned_)).ok());
  const std::string new_id = RecordOf("tuned").id();
  DeleteById(old_id);
  RunGc();
  EXPECT_EQ(ReadBack("tuned"), WithCard(tuned_));

  ASSERT_TRUE(Revise("tuned", tuned_).ok());
  DeleteById(new_id);
  RunGc();
  EXPECT_EQ(ReadBack("tuned"), tuned_);
  EXPECT_EQ(ReadBack("base"), base_);
  // The same file again, and nothing else.
  EXPECT_THAT(BlobHexes(), ElementsAreArray(blobs_before));
  DeleteById(RecordOf("base").id());
  RunGc();
  EXPECT_EQ(ReadBack("tuned"), tuned_);
}

TEST_F(RevisionTest, GarbageIsCollectedWhileItIsMade) {
  int runs = 0;
  ASSERT_TRUE(Revise("tuned", WithCard(tuned_), [&] {
                ++runs;
                EXPECT_EQ(RunGc().orphan_claims(), 0U);
                return absl::OkStatus();
              }).ok());
  EXPECT_EQ(runs, 1);
  RunGc();
  EXPECT_EQ(ReadBack("tuned"), WithCard(tuned_));
}

TEST_F(RevisionTest, WhatItIsMadeOfMayGoMeanwhile) {
  const std::string old_id = RecordOf("tuned").id();
  // Its lineage parent is gone, too.
  const absl::StatusOr<Model> orphaned = Revise("tuned", WithCard(tuned_), [&] {
    DeleteById(old_id);
    return absl::OkStatus();
  });
  EXPECT_EQ(ErrorReason(orphaned.status()), "MODEL_NOT_FOUND") << orphaned.status();
  clock_.Advance(absl::Hours(1));
  RunJobs();
  RunGc();
  EXPECT_EQ(ReadBack("base"), base_);
  EXPECT_THAT(BlobHexes(), ElementsAreArray(PiecesOf(RecordOf("base"))));
}

// What it is made of is stored anew, and nothing but it needs the storage parent then.
TEST_F(RevisionTest, TheStorageParentStaysMeanwhile) {
  crash_.before_next_commit = [this] {
    Delete("base");
    RunGc();
    EXPECT_EQ(RecordOf("tuned").storage_parent_id(), "");
  };
  const absl::StatusOr<Model> made = Revise("tuned", WithCard(tuned_));
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->record.storage_parent_id(), ids_["base"]);
  clock_.Advance(absl::Hours(1));
  TryJobs().IgnoreError();
  EXPECT_EQ(ReadBack("tuned"), WithCard(tuned_));
  EXPECT_EQ(ReadBack("id:" + ids_["tuned"]), tuned_);
}

// It went before it was held.
TEST_F(RevisionTest, AStorageParentThatHasGoneIsToldOf) {
  int reads = 0;
  crash_.after_get = [&](absl::string_view key) {
    // The record is read, and read again when its stored form is held.
    if (key != keys::Model(ids_["tuned"]) || ++reads < 3) return;
    crash_.after_get = nullptr;
    Delete("base");
    RunGc();
    EXPECT_EQ(RecordOf("tuned").storage_parent_id(), "");
  };
  const absl::StatusOr<Model> refused = Revise("tuned", WithCard(tuned_));
  EXPECT_EQ(ErrorReason(refused.status()), "PARENT_GONE") << refused.status();
  EXPECT_EQ(RecordOf("tuned").id(), ids_["tuned"]);
  EXPECT_EQ(ReadBack("tuned"), tuned_);
  clock_.Advance(absl::Hours(1));
  TryJobs().IgnoreError();
  RunGc();
  EXPECT_THAT(BlobHexes(), UnorderedElementsAreArray(PiecesOf(RecordOf("tuned"))));
}

// Between the check and the commit.
TEST_F(RevisionTest, TheCheckSeesTheVersionBefore) {
  const std::string old_id = RecordOf("tuned").id();
  int runs = 0;
  const absl::StatusOr<Model> refused = Revise("tuned", WithCard(tuned_), [&]() -> absl::Status {
    ++runs;
    if (RecordOf("tuned").id() != old_id) return absl::FailedPreconditionError("moved");
    StartUploadParams params;
    params.name = "tuned";
    params.new_version = true;
    EXPECT_TRUE(Upload(params, base_).ok());
    return absl::OkStatus();
  });
  EXPECT_TRUE(absl::IsFailedPrecondition(refused.status())) << refused.status();
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(ReadBack("tuned"), base_);
  RunJobs();
  EXPECT_EQ(store_->models().Resolve("tuned")->record.run_position(), 2U);
}

TEST_F(RevisionTest, AnErrorOfTheCheckLeavesNothing) {
  const std::vector<std::string> blobs_before = BlobHexes();
  const ModelRecord before = RecordOf("tuned");
  const absl::StatusOr<Model> refused =
      Revise("tuned", WithCard(tuned_), [] { return absl::CancelledError("not any more"); });
  EXPECT_TRUE(absl::IsCancelled(refused.status())) << refused.status();
  EXPECT_EQ(RecordOf("tuned").id(), before.id());
  EXPECT_THAT(BlobHexes(), ElementsAreArray(blobs_before));
}

TEST_F(RevisionTest, DamageIsFoundAndNotSpread) {
  const ModelRecord before = RecordOf("tuned");
  DamageDelta(before, before.stored_bytes() / 2);
  const absl::StatusOr<Model> refused = Revise("tuned", WithCard(tuned_));
  EXPECT_TRUE(absl::IsDataLoss(refused.status())) << refused.status();
  EXPECT_EQ(RecordOf("tuned").id(), before.id());
}

// Whatever the last change before a crash was: the old version is whole, and the new one whole or
// not there, with nothing left of it.
TEST_F(RevisionTest, ACrashAnywhereLeavesTheOldOrTheNew) {
  const std::string old_id = RecordOf("tuned").id();
  const std::vector<std::string> blobs_before = BlobHexes();
  bool is_made = false;
  for (int steps = 0; !is_made; ++steps) {
    ASSERT_LT(steps, 1000);
    SCOPED_TRACE(absl::StrCat(steps, " changes"));
    crash_.steps_left = steps;
    is_made = Revise("tuned", WithCard(tuned_)).ok();
    ASSERT_EQ(is_made, !crash_.crashed());
    Restart();
    EXPECT_EQ(ReadBack("id:" + old_id), tuned_);
    const bool is_new = RecordOf("tuned").id() != old_id;
    EXPECT_EQ(is_new, is_made);
    RunGc();
    EXPECT_EQ(ReadBack("tuned"), is_new ? WithCard(tuned_) : tuned_);
    EXPECT_EQ(ReadBack("id:" + old_id), tuned_);
    if (!is_new) {
      EXPECT_THAT(BlobHexes(), ElementsAreArray(blobs_before));
    }
  }
}

// The answer of the commit was lost, not the commit.
TEST_F(RevisionTest, ACommitWhoseAnswerIsLostIsNotTakenBack) {
  const std::string old_id = RecordOf("tuned").id();
  bool is_last = false;
  crash_.after_commit = [&] {
    return is_last ? absl::UnavailableError("no answer") : absl::OkStatus();
  };
  const absl::StatusOr<Model> made = Revise("tuned", WithCard(tuned_), [&] {
    is_last = true;
    return absl::OkStatus();
  });
  EXPECT_FALSE(made.ok());
  crash_.after_commit = nullptr;
  ASSERT_NE(RecordOf("tuned").id(), old_id);
  RunGc();
  EXPECT_EQ(ReadBack("tuned"), WithCard(tuned_));
}

// Nor is it where reads do not see it before the next commit.
TEST_F(RevisionTest, ACommitThatIsSeenLateIsNotTakenBack) {
  const std::string old_id = RecordOf("tuned").id();
  for (const int broken_commits : {1, 2}) {
    const std::string card = absl::StrCat("# ", broken_commits, "\n");
    const absl::StatusOr<Model> made = Revise("tuned", WithCard(tuned_, card), [&] {
      crash_.breaks = [left = broken_commits](const Commit&) mutable { return left-- > 0; };
      return absl::OkStatus();
    });
    EXPECT_FALSE(made.ok());
    crash_.breaks = nullptr;
    RunGc();
    ASSERT_NE(RecordOf("tuned").id(), old_id);
    EXPECT_EQ(ReadBack("tuned"), WithCard(tuned_, card));
  }
}

}  // namespace
}  // namespace wdelta::testing
