// Deltas for a client that holds other models: which are sent, and that they lead to exactly
// what is served.
#include "storage/engine/delta_route.h"

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/checksum.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/engine/folded_stream.h"
#include "storage/engine/wdelta_source.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;
using testing::BuildSafetensors;
using testing::Files;
using testing::FineTuned;
using ::testing::HasSubstr;
using testing::RandomWeights;
using testing::TestTensor;

class StringFile final : public RandomAccessFile {
 public:
  explicit StringFile(std::string bytes) : bytes_(std::move(bytes)) {}
  absl::Status Read(uint64_t offset, char* destination, size_t size) const override {
    if (offset + size > bytes_.size()) return absl::DataLossError("past the end");
    std::memcpy(destination, bytes_.data() + offset, size);
    return absl::OkStatus();
  }
  absl::StatusOr<uint64_t> SizeBytes() const override { return bytes_.size(); }

 private:
  const std::string bytes_;
};

Files FilesOf(const std::vector<TestTensor>& tensors, const std::string& config = "{}") {
  return {{"model.safetensors", BuildSafetensors(tensors)}, {"config.json", config}};
}

std::vector<TestTensor> Tuned(std::vector<TestTensor> tensors, uint32_t seed) {
  for (TestTensor& tensor : tensors) tensor = FineTuned(tensor, seed++);
  return tensors;
}

class DeltaRouteTest : public testing::EngineTest {
 protected:
  DeltaRouteTest() {
    base_ = {RandomWeights("a", {700, 512}, 1), RandomWeights("b", {256, 512}, 2),
             RandomWeights("c", {64}, 3)};
  }

  void Push(const std::string& name, const Files& files, const std::string& parent = "") {
    const std::vector<std::string> parents =
        parent.empty() ? std::vector<std::string>() : std::vector<std::string>{parent};
    ASSERT_TRUE(Upload(name, files, parents).ok());
    RunJobs();
    ASSERT_EQ(RecordOf(name).state(), ModelRecord::READY);
  }
  // base <- m1 <- m2 <- m3, every weight moving now and then.
  void PushTunedChain() {
    std::vector<TestTensor> tensors = base_;
    Push("base", FilesOf(tensors));
    for (uint32_t i = 1; i <= 3; ++i) {
      tensors = Tuned(tensors, 10 * i);
      const std::string parent = i == 1 ? "base" : absl::StrCat("m", i - 1);
      Push(absl::StrCat("m", i), FilesOf(tensors, absl::StrCat("{\"step\": ", i, "}")), parent);
      ASSERT_EQ(RecordOf(absl::StrCat("m", i)).storage_parent_id(), RecordOf(parent).id());
    }
  }
  // base <- d1 <- d2, each of which moves a tensor of its own: a folded delta is no smaller.
  void PushDisjointChain() {
    std::vector<TestTensor> tensors = base_;
    Push("base", FilesOf(tensors));
    tensors[0] = FineTuned(tensors[0], 5);
    Push("d1", FilesOf(tensors), "base");
    tensors[1] = FineTuned(tensors[1], 6);
    Push("d2", FilesOf(tensors), "d1");
    ASSERT_EQ(RecordOf("d2").storage_parent_id(), RecordOf("d1").id());
    ASSERT_EQ(RecordOf("d1").storage_parent_id(), RecordOf("base").id());
  }

  RouteTools Tools() { return {&store_->models(), &store_->reader(), &store_->codec_pool()}; }
  absl::StatusOr<std::vector<DeltaStep>> Plan(const std::string& model,
                                              const std::vector<std::string>& held) {
    return PlanDeltaRoute(Tools(), RecordOf(model).id(), held);
  }
  absl::StatusOr<std::string> BytesOf(const DeltaStep& step) {
    std::string bytes;
    if (!step.is_folded()) {
      bytes.resize(step.size_bytes);
      const absl::Status read = step.stored->Read(0, bytes.data(), bytes.size());
      return read.ok() ? absl::StatusOr<std::string>(bytes) : read;
    }
    const absl::Status encoded = EncodeFolded(
        step, &store_->codec_pool(), [] { return absl::OkStatus(); },
        [&](absl::string_view more) {
          bytes.append(more.data(), more.size());
          return absl::OkStatus();
        });
    return encoded.ok() ? absl::StatusOr<std::string>(bytes) : encoded;
  }
  // What a client has that applies the steps to the model `held`; how many bytes it received.
  Files Apply(const std::vector<DeltaStep>& steps, const std::string& held,
              uint64_t* received = nullptr) {
    ContentSourcePtr source;
    if (!steps.front().parent_id.empty()) {
      EXPECT_EQ(steps.front().parent_id, RecordOf(held).id());
      source = *Open(held);
    }
    for (const DeltaStep& step : steps) {
      const absl::StatusOr<std::string> bytes = BytesOf(step);
      EXPECT_TRUE(bytes.ok()) << bytes.status();
      if (!bytes.ok()) return {};
      if (received != nullptr) *received += bytes->size();
      const auto reader = *WdeltaReader::Open(std::make_shared<const StringFile>(*bytes));
      const auto next = WdeltaSource::Open("delta", reader, source, &codecs_, &cache_);
      EXPECT_TRUE(next.ok()) << next.status();
      if (!next.ok()) return {};
      source = *next;
    }
    return ReadAll(source);
  }
  // Checks that a route leads to what is served; its steps.
  std::vector<DeltaStep> ExpectRoute(const std::string& model, const std::string& held) {
    absl::StatusOr<std::vector<DeltaStep>> steps = Plan(model, {held});
    EXPECT_TRUE(steps.ok()) << steps.status();
    if (!steps.ok()) return {};
    EXPECT_TRUE(Apply(*steps, held) == ReadBack(model)) << held << " to " << model;
    return *std::move(steps);
  }

  std::vector<TestTensor> base_;
  CodecPool codecs_;
  ChunkCache cache_{0};
};

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
  for (int i = 0; i < 5; ++i) {
    TryJobs().IgnoreError();
    clock_.Advance(absl::Minutes(5));
  }
  for (const DeltaStep& step : stored) EXPECT_TRUE(BytesOf(step).ok());
  EXPECT_TRUE(*BytesOf(folded[0]) == expected);
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

class FoldedStreamTest : public DeltaRouteTest {
 protected:
  // All that comes; the last status.
  absl::Status Take(FoldedStream& stream, std::string& bytes) {
    stream.SetWaker([this] {
      absl::MutexLock lock(&mutex_);
      is_woken_ = true;
    });
    while (true) {
      const absl::StatusOr<Cursor::Step> step = stream.TryNext();
      if (!step.ok()) return step.status();
      if (step->progress == Cursor::Progress::kEnd) return absl::OkStatus();
      if (step->progress == Cursor::Progress::kPiece) {
        EXPECT_EQ(step->piece.crc32c, Crc32c(step->piece.data));
        bytes += step->piece.data;
        continue;
      }
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(&is_woken_));
      is_woken_ = false;
    }
  }

  // The encoder's thread may be about to leave them when all has been taken.
  absl::Mutex mutex_;
  bool is_woken_ = false;
};

TEST_F(FoldedStreamTest, GivesTheRestOfTheSameBytes) {
  PushTunedChain();
  const DeltaStep step = Plan("m3", {"base"})->front();
  ASSERT_TRUE(step.is_folded());
  const std::string expected = *BytesOf(step);
  for (const uint64_t skip :
       {uint64_t{0}, uint64_t{1}, uint64_t{expected.size() / 2}, uint64_t{expected.size()}}) {
    FoldedStream stream(step, skip, &store_->codec_pool());
    std::thread encoder([&] { stream.Run(); });
    std::string bytes;
    EXPECT_TRUE(Take(stream, bytes).ok());
    encoder.join();
    EXPECT_TRUE(bytes == expected.substr(skip)) << skip;
    EXPECT_EQ(stream.sha256(), Digest::Of(expected));
  }
  FoldedStream stream(step, expected.size() + 1, &store_->codec_pool());
  stream.Run();
  std::string bytes;
  EXPECT_EQ(ErrorReason(Take(stream, bytes)), "OFFSET_PAST_END");
}

TEST_F(FoldedStreamTest, CancelEndsAnEncoderThatWaitsToBeRead) {
  // Of more bytes than wait to be taken.
  Push("big", FilesOf({RandomWeights("w", {2048, 2048}, 7)}));
  Push("other", FilesOf({RandomWeights("w", {2048, 2048}, 8)}));
  DeltaStep step;
  step.model = RecordOf("big");
  step.target = *Open("big");
  step.parent = *Open("other");
  FoldedStream stream(std::move(step), 0, &store_->codec_pool());
  std::thread encoder([&] { stream.Run(); });
  absl::StatusOr<Cursor::Step> first = stream.TryNext();
  while (first.ok() && first->progress == Cursor::Progress::kWait) first = stream.TryNext();
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->progress, Cursor::Progress::kPiece);
  stream.Cancel();
  encoder.join();
  EXPECT_EQ(stream.TryNext()->progress, Cursor::Progress::kEnd);
}

}  // namespace
}  // namespace wdelta
