// New versions that have the tensors of a stored one.
#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "storage/catalog/keys.h"
#include "tests/engine/gc_fixture.h"
#include "tests/support/bf16.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta::testing {
namespace {

using store::v1::ModelRecord;
using ::testing::ElementsAreArray;
using ::testing::Gt;
using ::testing::Lt;
using ::testing::UnorderedElementsAreArray;

constexpr char kWeights[] = "model.safetensors";
// Far less than the tensors take: the changed files, and what is known of all of them.
constexpr uint64_t kFewBytes = 4096;

class BytesInMemory final : public RandomAccessFile {
 public:
  // Counts itself in `open` while it lives.
  BytesInMemory(std::string bytes, int* open) : bytes_(std::move(bytes)), open_(*open) { ++open_; }
  ~BytesInMemory() override { --open_; }
  BytesInMemory(const BytesInMemory&) = delete;
  BytesInMemory& operator=(const BytesInMemory&) = delete;
  absl::Status Read(uint64_t offset, char* destination, size_t size) const override {
    std::memcpy(destination, bytes_.data() + offset, size);
    return absl::OkStatus();
  }
  absl::StatusOr<uint64_t> SizeBytes() const override { return bytes_.size(); }

 private:
  const std::string bytes_;
  int& open_;
};

// `base`, and `tuned`, which is stored against it.
class RevisionTest : public GcFixture {
 protected:
  RevisionTest() {
    const TestTensor weights = RandomWeights("w", {1024, 1024}, 1);
    const TestTensor bias = RandomWeights("b", {512}, 2);
    base_ = {{kWeights, BuildSafetensors({weights, bias})}, {"config.json", "{}\n"}};
    tuned_ = {{kWeights, BuildSafetensors({FineTuned(weights, 3), FineTuned(bias, 4)})},
              {"config.json", "{\"a\": 1}\n"}};
    UploadReady("base", base_);
    UploadReady("tuned", tuned_, {"base"});
    EXPECT_EQ(RecordOf("tuned").storage_parent_id(), ids_["base"]);
  }

  // As a new version of the model, with what it has of these files taken from it.
  absl::StatusOr<Model> Revise(const std::string& model, const Files& files,
                               std::function<absl::Status()> check = nullptr) {
    const ModelRecord before = RecordOf(model);
    RevisionParams params;
    params.model_id = before.id();
    params.parents.push_back({"id:" + before.id(), {}, {}});
    params.labels = {{"team", "a"}};
    params.check = std::move(check);
    for (const auto& [path, bytes] : files) {
      RevisedFile& file = params.files.emplace_back();
      file.path = path;
      file.sha256 = Digest::Of(bytes);
      file.size_bytes = bytes.size();
      for (int i = 0; i < before.files_size(); ++i) {
        if (before.files(i).sha256() == file.sha256.ToBytes()) file.kept = i;
      }
      if (file.kept.has_value()) continue;
      file.open_content = [this, content = bytes] {
        auto opened = std::make_shared<const BytesInMemory>(content, &open_files_);
        max_open_files_ = std::max(max_open_files_, open_files_);
        return absl::StatusOr<std::shared_ptr<const RandomAccessFile>>(std::move(opened));
      };
    }
    return store_->revisions().Make(params);
  }
  Files WithCard(Files files, const std::string& card = "# a card\n") const {
    files["README.md"] = card;
    return files;
  }
  void DeleteById(const std::string& id) {
    ASSERT_TRUE(store_->models().Delete("id:" + id).ok());
    TryJobs().IgnoreError();
  }

  Files base_, tuned_;
  // Of new side files.
  int open_files_ = 0;
  int max_open_files_ = 0;
};

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

TEST_F(RevisionTest, WhatWasLostIsKeptInMind) {
  StartUploadParams params;
  params.name = "lossy";
  params.parents.push_back({"base", {}, {}});
  params.fidelity.mutable_all()->set_strategy(store::v1::SPARSE);
  params.fidelity.mutable_all()->set_sparsity(0.97);
  ASSERT_TRUE(Upload(params, tuned_).ok());
  RunJobs();
  const ModelRecord before = RecordOf("lossy");
  ASSERT_TRUE(before.outcome().lossy());
  const Files served = ReadBack("lossy");
  ASSERT_TRUE(Revise("lossy", WithCard(served)).ok());
  const ModelRecord record = RecordOf("lossy");
  EXPECT_NE(record.id(), before.id());
  EXPECT_EQ(record.outcome().SerializeAsString(), before.outcome().SerializeAsString());
  EXPECT_EQ(record.fidelity().SerializeAsString(), before.fidelity().SerializeAsString());
  EXPECT_EQ(ReadBack("lossy"), WithCard(served));
  const auto fidelity = Open("lossy").value()->stored()->file().fidelity;
  const auto old_fidelity = Open("id:" + before.id()).value()->stored()->file().fidelity;
  ASSERT_TRUE(fidelity.has_value() && old_fidelity.has_value());
  ASSERT_EQ(fidelity->streams.size(), old_fidelity->streams.size());
  for (size_t i = 0; i < fidelity->streams.size(); ++i) {
    // The card comes before the weights.
    EXPECT_EQ(fidelity->streams[i].stream, old_fidelity->streams[i].stream + 1);
    EXPECT_EQ(fidelity->streams[i].squared_error, old_fidelity->streams[i].squared_error);
  }
  DeleteById(before.id());
  RunGc();
  EXPECT_EQ(ReadBack("lossy"), WithCard(served));
}

// Changes that are all of one size are told whole by one bit each.
TEST_F(RevisionTest, WhatLostNothingStillHasNot) {
  TestTensor ones = RandomWeights("w", {1024, 1024}, 5);
  TestTensor tuned = ones;
  for (size_t i = 0; i < ones.data.size() / 2; ++i) {
    const bool is_up = (ones.data[2 * i] & 1) != 0;
    PutBf16(ones.data, i, 1);
    PutBf16(tuned.data, i, is_up ? 1 + 1.0 / 64 : 1 - 1.0 / 64);
  }
  UploadReady("ones", {{kWeights, BuildSafetensors({ones})}});
  const Files files = {{kWeights, BuildSafetensors({tuned})}};
  StartUploadParams params;
  params.name = "same";
  params.parents.push_back({"ones", {}, {}});
  params.fidelity.mutable_all()->set_strategy(store::v1::ONE_BIT);
  ASSERT_TRUE(Upload(params, files).ok());
  RunJobs();
  const ModelRecord before = RecordOf("same");
  ASSERT_EQ(before.outcome().uploaded_digest(), before.digest()) << before.outcome().note();
  ASSERT_TRUE(Revise("same", WithCard(files)).ok());
  const ModelRecord record = RecordOf("same");
  EXPECT_FALSE(record.outcome().lossy());
  EXPECT_NE(record.digest(), before.digest());
  EXPECT_EQ(record.outcome().uploaded_digest(), record.digest());
  const ContentSourcePtr source = Open("same").value();
  const WdeltaFile& file = source->stored()->file();
  ASSERT_TRUE(file.fidelity.has_value());
  EXPECT_EQ(file.fidelity->uploaded_digest, file.model_digest);
  EXPECT_EQ(file.model_digest.ToBytes(), record.digest());
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
