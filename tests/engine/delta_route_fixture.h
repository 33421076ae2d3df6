// Families of models, and what a client makes of the deltas between them.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "storage/engine/compare/model_diff.h"
#include "storage/engine/content/wdelta_source.h"
#include "storage/engine/delta_fetch/delta_route.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta::testing {

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

inline Files FilesOf(const std::vector<TestTensor>& tensors, const std::string& config = "{}") {
  return {{"model.safetensors", BuildSafetensors(tensors)}, {"config.json", config}};
}

inline std::vector<TestTensor> Tuned(std::vector<TestTensor> tensors, uint32_t seed) {
  for (TestTensor& tensor : tensors) tensor = FineTuned(tensor, seed++);
  return tensors;
}

class DeltaRouteTest : public EngineTest {
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
    ASSERT_EQ(RecordOf(name).state(), store::v1::ModelRecord::READY);
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
    absl::StatusOr<DeltaRoutePlanner> planner =
        DeltaRoutePlanner::Open(Tools(), RecordOf(model).id(), held);
    if (!planner.ok()) return planner.status();
    return (*std::move(planner)).Best([] { return absl::OkStatus(); });
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
  // How many tensors a diff calls changed.
  int ChangedTensors(const std::string& a, const std::string& b) {
    const DiffInput input{*Open(a), *Open(b), [] { return absl::OkStatus(); }};
    int changed = 0;
    const absl::Status status =
        DiffTensors(input, &store_->codec_pool(), [&](const TensorDiff& diff) {
          if (diff.change != DiffKind::kUnchanged) ++changed;
          return absl::OkStatus();
        });
    EXPECT_TRUE(status.ok()) << status;
    return changed;
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

}  // namespace wdelta::testing
