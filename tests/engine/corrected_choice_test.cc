// The choice of a storage parent knows of corrections.
#include <algorithm>

#include "gmock/gmock.h"
#include "storage/engine/encoding/low_rank/corrected_estimate.h"
#include "tests/engine/engine_fixture.h"
#include "tests/engine/low_rank_tensors.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta::testing {
namespace {

using store::v1::ModelRecord;
using store::v1::StorageCandidate;
using store::v1::StorageChoiceRecord;

class CorrectedChoiceTest : public EngineTest {
 protected:
  ModelRecord Store(const std::string& name, const std::vector<TestTensor>& tensors,
                    const std::vector<std::string>& parents = {}) {
    const Files files = {{kPath, BuildSafetensors(tensors)}};
    const absl::Status status = Upload(name, files, parents).status();
    EXPECT_TRUE(status.ok()) << status;
    RunJobs();
    EXPECT_TRUE(ReadBack(name) == files) << name;
    return RecordOf(name);
  }

  WdeltaFile FileOf(const std::string& name) {
    return (*store_->reader().Open(RecordOf(name)))->stored()->file();
  }
  bool IsCorrected(const std::string& name, size_t tensor = 0) {
    return FileOf(name).streams[tensor + 1].correction.has_value();
  }

  StorageCandidate CandidateOf(const std::string& name, const std::string& parent) {
    const StorageChoiceRecord choice =
        *store_->models().StorageChoiceOf(*store_->models().Resolve(name));
    for (const StorageCandidate& candidate : choice.candidates()) {
      if (candidate.name() == parent) return candidate;
    }
    ADD_FAILURE() << parent << " is no candidate of " << name;
    return {};
  }

  const TestTensor base_ = Weights(DType::kBF16, 1200, 512, 1);
};

TEST_F(CorrectedChoiceTest, AMergeIsStoredAgainstWhatItWasMergedInto) {
  Store("base", {base_});
  const TestTensor full = Noised(base_, 6e-4f, 2);
  Store("full", {full}, {"base"});
  EXPECT_EQ(Store("on-base", {Merged(base_, 4, 6e-4f, DType::kBF16)}).storage_parent_id(),
            RecordOf("base").id());
  EXPECT_TRUE(IsCorrected("on-base"));
  EXPECT_EQ(Store("on-full", {Merged(full, 4, 6e-4f, DType::kBF16)}).storage_parent_id(),
            RecordOf("full").id());
  EXPECT_TRUE(IsCorrected("on-full"));
  EXPECT_FALSE(IsCorrected("full"));
}

TEST_F(CorrectedChoiceTest, ANearerModelWithoutALowRankIsNoBetter) {
  const TestTensor merged = Merged(base_, 4, 1.2e-3f, DType::kBF16);
  Store("base", {base_});
  Store("nearer", {Noised(merged, 3e-4f, 5)}, {"base"});
  EXPECT_EQ(Store("merged", {merged}, {"base"}).storage_parent_id(), RecordOf("base").id());
  EXPECT_TRUE(IsCorrected("merged"));
  const StorageCandidate base = CandidateOf("merged", "base");
  EXPECT_LT(2 * base.estimated_bytes(), CandidateOf("merged", "nearer").estimated_bytes());
  // All of so small a model is seen: the estimate is what it takes, but for the file's tables.
  const double stored_bytes = static_cast<double>(RecordOf("merged").stored_bytes());
  EXPECT_NEAR(static_cast<double>(base.estimated_bytes()), stored_bytes,
              0.03 * stored_bytes + 2000);
}

// Of each shape one tensor tells what the others take.
TEST_F(CorrectedChoiceTest, TensorsOfOneShapeAreTakenToBeAlike) {
  std::vector<TestTensor> base, merged, nearer;
  for (uint32_t i = 0; i < 4; ++i) {
    base.push_back(Weights(DType::kF16, i < 2 ? 700 : 256, 400, i + 1));
    base.back().name = absl::StrCat("w", i);
    // Adapters of the larger ones only.
    merged.push_back(i < 2 ? Merged(base.back(), 3, 1.2e-3f, DType::kF16) : base.back());
    nearer.push_back(i < 2 ? Noised(merged.back(), 3e-4f, 9 + i) : base.back());
  }
  Store("base", base);
  Store("nearer", nearer, {"base"});
  EXPECT_EQ(Store("merged", merged, {"nearer"}).storage_parent_id(), RecordOf("base").id());
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(IsCorrected("merged", i), i < 2) << i;
}

TEST_F(CorrectedChoiceTest, TheFirstRowsTellTheShareOfALargeTensor) {
  // More than the rows that are looked at.
  const TestTensor base = Weights(DType::kF32, 2600, 1024, 1);
  const TestTensor merged = Merged(base, 4, 6e-4f, DType::kF32);
  Store("base", {base});
  Store("merged", {merged}, {"base"});
  ASSERT_TRUE(IsCorrected("merged"));
  const double stored_bytes = static_cast<double>(RecordOf("merged").stored_bytes());
  EXPECT_NEAR(static_cast<double>(CandidateOf("merged", "base").estimated_bytes()), stored_bytes,
              0.03 * stored_bytes);
}

TEST_F(CorrectedChoiceTest, OtherShapesComeThrough) {
  std::vector<TestTensor> base = {
      Weights(DType::kBF16, 96, 3, 1), Weights(DType::kBF16, 1, 5000, 2),
      Weights(DType::kBF16, 5000, 1, 3), Weights(DType::kBF16, 256, 300, 4),
      Weights(DType::kBF16, 256, 300, 5)};
  base[0].shape = {32, 3, 3, 1};
  base[1].shape = {5000};
  base[3].shape = {4, 64, 300};
  base[4].shape = {64, 4, 300};
  std::vector<TestTensor> tuned;
  for (uint32_t i = 0; i < base.size(); ++i) {
    base[i].name = absl::StrCat("w", i);
    tuned.push_back(Noised(base[i], 6e-4f, 20 + i));
  }
  // Adapters of a convolution and of a stack, as the matrices that they are taken for.
  for (const size_t i : {3, 4}) {
    TestTensor flat = base[i];
    flat.shape = {256, 300};
    tuned[i].data = Merged(flat, 2, 6e-4f, DType::kBF16).data;
  }
  Store("base", base);
  EXPECT_EQ(Store("tuned", tuned).storage_parent_id(), RecordOf("base").id());
  for (size_t i = 0; i < base.size(); ++i) EXPECT_EQ(IsCorrected("tuned", i), i >= 3) << i;
}

}  // namespace
}  // namespace wdelta::testing
