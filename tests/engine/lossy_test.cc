// Models stored with loss: what is recorded is what the test measures itself, nothing is
// lost that was not allowed, and errors never add up.
#include <cmath>
#include <random>

#include "gmock/gmock.h"
#include "storage/base/error.h"
#include "storage/tensor/checkpoint.h"
#include "tests/engine/engine_fixture.h"
#include "tests/engine/fidelity_policies.h"
#include "tests/support/bf16.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta {
namespace {

using store::v1::FidelityPolicy;
using store::v1::ModelRecord;
using testing::Bf16ToDouble;
using testing::BuildSafetensors;
using testing::Files;
using ::testing::HasSubstr;
using testing::Policy;
using testing::PutBf16;
using testing::TestTensor;

constexpr double kRoundOff = 1e-9;

// A tensor after a training that moves every weight a little.
TestTensor Trained(const TestTensor& tensor, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> delta(0, 0.002);
  TestTensor trained = tensor;
  for (size_t i = 0; i < trained.data.size() / 2; ++i) {
    PutBf16(trained.data, i, Bf16ToDouble(tensor.data, i) + delta(random));
  }
  return trained;
}

std::vector<TestTensor> BaseTensors() {
  return {testing::RandomWeights("embed.weight", {300, 640}, 1),  // two chunks
          testing::RandomWeights("norm.weight", {640}, 2),
          testing::RandomWeights("up.weight", {64, 256}, 3)};
}

std::vector<TestTensor> Trained(std::vector<TestTensor> tensors, uint32_t seed) {
  for (TestTensor& tensor : tensors) tensor = Trained(tensor, seed++);
  return tensors;
}

Files FilesOf(const std::vector<TestTensor>& tensors) {
  return {{"model.safetensors", BuildSafetensors(tensors)}, {"config.json", "{}"}};
}

struct Error {
  double squared_error = 0;
  double squared_delta = 0;
  double max_absolute = 0;
  double Relative() const { return std::sqrt(squared_error / squared_delta); }
};

Error Measure(const std::string& served, const std::string& uploaded, const std::string& parent) {
  Error error;
  for (size_t i = 0; i < uploaded.size() / 2; ++i) {
    const double e = Bf16ToDouble(served, i) - Bf16ToDouble(uploaded, i);
    const double d = Bf16ToDouble(uploaded, i) - Bf16ToDouble(parent, i);
    error.squared_error += e * e;
    error.squared_delta += d * d;
    error.max_absolute = std::max(error.max_absolute, std::abs(e));
  }
  return error;
}

class LossyTest : public testing::EngineTest {
 protected:
  void UploadWith(const std::string& name, const Files& files, const std::string& parent,
                  const FidelityPolicy& policy) {
    StartUploadParams params;
    params.name = name;
    if (!parent.empty()) params.parents.push_back({parent, {}, {}});
    params.fidelity = policy;
    const absl::StatusOr<FinishedUpload> upload = Upload(std::move(params), files);
    ASSERT_TRUE(upload.ok()) << upload.status();
  }

  // Tensor bytes by name, as they are served.
  std::map<std::string, std::string> Served(const std::string& model) {
    std::map<std::string, std::string> tensors;
    const ContentSourcePtr source = *Open(model);
    const std::vector<StreamInfo>& streams = source->checkpoint().streams;
    for (uint32_t i = 0; i < streams.size(); ++i) {
      if (streams[i].kind != StreamKind::kTensor) continue;
      std::string& bytes = tensors[streams[i].tensor.name];
      bytes.resize(streams[i].tensor.size_bytes);
      EXPECT_TRUE(source->Read(i, 0, bytes.size(), bytes.data()).ok());
    }
    return tensors;
  }

  // What the `.wdelta` says of a tensor.
  WdeltaStreamFidelity Noted(const std::string& model, const std::string& tensor) {
    const ContentSourcePtr source = *Open(model);
    const WdeltaFile& file = source->stored()->file();
    for (const WdeltaStreamFidelity& noted : file.fidelity->streams) {
      if (file.streams[noted.stream].info.tensor.name == tensor) return noted;
    }
    ADD_FAILURE() << tensor << " is not noted";
    return {};
  }

  const std::vector<TestTensor> base_ = BaseTensors();
  const std::vector<TestTensor> tuned_ = Trained(base_, 10);
};

struct Asked {
  std::string name;
  FidelityPolicy policy;
  double max_error;  // that the whole may have
};

class StrategyTest : public LossyTest, public ::testing::WithParamInterface<Asked> {};

TEST_P(StrategyTest, RecordsTheErrorThatIsServed) {
  ASSERT_TRUE(Upload("base", FilesOf(base_)).ok());
  ASSERT_TRUE(Upload("exact", FilesOf(tuned_), {"base"}).ok());
  UploadWith("lossy", FilesOf(tuned_), "base", GetParam().policy);
  RunJobs();

  const ModelRecord record = RecordOf("lossy");
  ASSERT_EQ(record.state(), ModelRecord::READY) << record.error();
  const auto& outcome = record.outcome();
  EXPECT_TRUE(outcome.lossy());
  EXPECT_EQ(outcome.note(), "");
  EXPECT_EQ(outcome.uploaded_digest(), RecordOf("exact").digest());
  EXPECT_NE(record.digest(), outcome.uploaded_digest());
  EXPECT_LT(record.stored_bytes(), RecordOf("exact").stored_bytes());

  std::map<std::string, std::string> served = Served("lossy");
  Error whole;
  uint64_t lossy_tensors = 0;
  for (size_t i = 0; i < base_.size(); ++i) {
    const std::string& name = base_[i].name;
    if (base_[i].shape.size() < 2) {
      EXPECT_EQ(served[name], tuned_[i].data) << name;
      continue;
    }
    const Error error = Measure(served[name], tuned_[i].data, base_[i].data);
    const WdeltaStreamFidelity noted = Noted("lossy", name);
    EXPECT_NEAR(noted.squared_error, error.squared_error, kRoundOff * error.squared_error);
    EXPECT_NEAR(noted.squared_delta, error.squared_delta, kRoundOff * error.squared_delta);
    EXPECT_EQ(noted.max_absolute_error, error.max_absolute);
    if (noted.strategy != Strategy::kLossless) ++lossy_tensors;
    whole.squared_error += error.squared_error;
    whole.squared_delta += error.squared_delta;
    whole.max_absolute = std::max(whole.max_absolute, error.max_absolute);
  }
  EXPECT_NEAR(outcome.relative_error(), whole.Relative(), kRoundOff);
  EXPECT_EQ(outcome.max_absolute_error(), whole.max_absolute);
  EXPECT_EQ(outcome.lossy_tensor_count(), lossy_tensors);
  EXPECT_GT(whole.Relative(), 0);
  EXPECT_LE(whole.Relative(), GetParam().max_error);
  // The digest is that of what is served.
  ReadBack("lossy");
}

INSTANTIATE_TEST_SUITE_P(
    All, StrategyTest,
    ::testing::Values(Asked{"near_lossless", Policy(store::v1::NEAR_LOSSLESS, 0.1), 0.1},
                      Asked{"near_lossless_bits", Policy(store::v1::NEAR_LOSSLESS, 3, true), 0.3},
                      Asked{"sparse", Policy(store::v1::SPARSE, 0.9), 0.9},
                      Asked{"one_bit", Policy(store::v1::ONE_BIT), 0.9},
                      Asked{"auto", Policy(store::v1::AUTO, 0.2), 0.2}),
    [](const auto& instance) { return instance.param.name; });

TEST_F(LossyTest, TheFirstRuleThatMatchesDecides) {
  FidelityPolicy policy = Policy(store::v1::NEAR_LOSSLESS, 0.1);
  auto* keep = policy.add_rules();
  keep->set_name_pattern("up.*");
  auto* sparse = policy.add_rules();
  sparse->set_name_pattern("*.weight");
  sparse->mutable_policy()->set_strategy(store::v1::SPARSE);
  sparse->mutable_policy()->set_sparsity(0.95);
  ASSERT_TRUE(Upload("base", FilesOf(base_)).ok());
  UploadWith("lossy", FilesOf(tuned_), "base", policy);
  RunJobs();
  EXPECT_EQ(Served("lossy")["up.weight"], tuned_[2].data);
  EXPECT_EQ(Noted("lossy", "embed.weight").strategy, Strategy::kSparse);
  EXPECT_EQ(RecordOf("lossy").outcome().lossy_tensor_count(), 1u);
}

TEST_F(LossyTest, IsNotServedBeforeItsBytesAreFinal) {
  ASSERT_TRUE(Upload("base", FilesOf(base_)).ok());
  UploadWith("lossy", FilesOf(tuned_), "base", Policy(store::v1::ONE_BIT));
  EXPECT_EQ(RecordOf("lossy").digest(), "");
  const absl::Status refused = Open("lossy").status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ErrorReason(refused), "MODEL_NOT_READY");
  Restart();
  EXPECT_EQ(ErrorReason(Open("lossy").status()), "MODEL_NOT_READY");
  RunJobs();
  const ModelRecord record = RecordOf("lossy");
  EXPECT_EQ(Digest::FromBytes(record.digest()).value(),
            ModelDigest((*Open("lossy"))->checkpoint().files));
  EXPECT_TRUE(
      store_->models().Resolve("sha256:" + Digest::FromBytes(record.digest())->ToHex()).ok());
}

TEST_F(LossyTest, AFailureKeepsTheUploadAndSaysWhy) {
  ASSERT_TRUE(Upload("base", FilesOf(base_)).ok());
  RunJobs();
  ASSERT_TRUE(
      blobs_.Delete(*Digest::FromBytes(RecordOf("base").delta_pieces(0).blob_digest())).ok());
  UploadWith("lossy", FilesOf(tuned_), "base", Policy(store::v1::ONE_BIT));
  EXPECT_FALSE(TryJobs().ok());
  const ModelRecord record = RecordOf("lossy");
  EXPECT_EQ(record.state(), ModelRecord::FAILED);
  EXPECT_FALSE(record.staging_id().empty());
  const absl::Status refused = Open("lossy").status();
  EXPECT_EQ(ErrorReason(refused), "MODEL_NOT_READY");
  EXPECT_THAT(std::string(refused.message()), HasSubstr(record.error()));
}

TEST_F(LossyTest, ACancelledOneFailsSinceItIsNeverServed) {
  ASSERT_TRUE(Upload("base", FilesOf(base_)).ok());
  RunJobs();
  UploadWith("lossy", FilesOf(tuned_), "base", Policy(store::v1::ONE_BIT));
  ASSERT_TRUE(store_->jobs().RequestCancel(RecordOf("lossy").job_id()).ok());
  const ModelRecord record = RecordOf("lossy");
  EXPECT_EQ(record.state(), ModelRecord::FAILED);
  EXPECT_THAT(record.error(), HasSubstr("was cancelled"));
  EXPECT_FALSE(record.staging_id().empty());
}

TEST_F(LossyTest, WithoutAParentNothingIsLost) {
  UploadWith("root", FilesOf(tuned_), "", Policy(store::v1::ONE_BIT));
  EXPECT_EQ(ReadBack("root"), FilesOf(tuned_));
  RunJobs();
  EXPECT_EQ(ReadBack("root"), FilesOf(tuned_));
  EXPECT_FALSE(RecordOf("root").outcome().lossy());
  EXPECT_THAT(RecordOf("root").outcome().note(), HasSubstr("no stored parent"));
}

TEST_F(LossyTest, WhatIsNotFiniteOrOfAnotherShapeStaysAsItIs) {
  std::vector<TestTensor> tuned = tuned_;
  tuned[2].data[1] = '\x7f';  // with the byte below, a NaN
  tuned[2].data[0] = '\xc1';
  tuned[0] = testing::RandomWeights("embed.weight", {301, 640}, 5);
  ASSERT_TRUE(Upload("base", FilesOf(base_)).ok());
  UploadWith("lossy", FilesOf(tuned), "base", Policy(store::v1::NEAR_LOSSLESS, 0.3));
  RunJobs();
  EXPECT_EQ(ReadBack("lossy"), FilesOf(tuned));
  EXPECT_FALSE(RecordOf("lossy").outcome().lossy());
}

// Every delta is taken to what its storage parent serves, and its error asked for of the
// delta to the declared parent, even where chains are cut (kMaxStorageDepth): the error of
// ten deltas is that of one.
TEST_F(LossyTest, ErrorsOfAChainNeverAddUp) {
  ASSERT_TRUE(Upload("m0", FilesOf(base_)).ok());
  std::vector<TestTensor> tensors = base_;
  RunJobs();
  std::map<std::string, std::string> declared = Served("m0");
  double first_error = 0;
  for (uint32_t i = 1; i <= 10; ++i) {
    const std::string name = "m" + std::to_string(i);
    const std::string parent = "m" + std::to_string(i - 1);
    tensors = Trained(tensors, 100 * i);
    UploadWith(name, FilesOf(tensors), parent, Policy(store::v1::NEAR_LOSSLESS, 0.2));
    RunJobs();
    const ModelRecord record = RecordOf(name);
    ASSERT_EQ(record.state(), ModelRecord::READY) << record.error();
    std::map<std::string, std::string> served = Served(name);
    Error error;
    for (const TestTensor& tensor : tensors) {
      if (tensor.shape.size() < 2) continue;
      const Error part = Measure(served[tensor.name], tensor.data, declared[tensor.name]);
      error.squared_error += part.squared_error;
      error.squared_delta += part.squared_delta;
    }
    EXPECT_NEAR(record.outcome().relative_error(), error.Relative(), kRoundOff) << name;
    EXPECT_LE(error.Relative(), 0.2) << name;
    if (i == 1) first_error = error.squared_error;
    EXPECT_LE(error.squared_error, 1.1 * first_error) << name;
    declared = std::move(served);
  }
}

// The error is that which was asked for of the delta to the declared parent, whatever the
// model is stored against.
TEST_F(LossyTest, IsStoredAgainstTheModelThatTakesLeast) {
  ASSERT_TRUE(Upload("base", FilesOf(base_)).ok());
  UploadWith("tuned", FilesOf(tuned_), "base", Policy(store::v1::NEAR_LOSSLESS, 0.1));
  RunJobs();
  std::vector<TestTensor> step = tuned_;
  for (TestTensor& tensor : step) {
    for (size_t i = 0; i < tensor.data.size() / 2; i += 50) {
      PutBf16(tensor.data, i, 1.05 * Bf16ToDouble(tensor.data, i));
    }
  }
  UploadWith("step", FilesOf(step), "base", Policy(store::v1::NEAR_LOSSLESS, 0.1));
  RunJobs();
  const ModelRecord record = RecordOf("step");
  ASSERT_EQ(record.state(), ModelRecord::READY) << record.error();
  EXPECT_EQ(record.storage_parent_id(), RecordOf("tuned").id());
  EXPECT_LT(record.stored_bytes(), RecordOf("tuned").stored_bytes() / 2);
  std::map<std::string, std::string> served = Served("step");
  Error error;
  for (size_t i = 0; i < base_.size(); ++i) {
    if (base_[i].shape.size() < 2) continue;
    const Error part = Measure(served[base_[i].name], step[i].data, base_[i].data);
    error.squared_error += part.squared_error;
    error.squared_delta += part.squared_delta;
  }
  EXPECT_LE(error.Relative(), 0.1);
  EXPECT_NEAR(record.outcome().relative_error(), error.Relative(), kRoundOff);
}

TEST_F(LossyTest, OtherStrategiesKeepToTheDeclaredParent) {
  ASSERT_TRUE(Upload("base", FilesOf(base_)).ok());
  ASSERT_TRUE(Upload("tuned", FilesOf(tuned_), {"base"}).ok());
  RunJobs();
  const std::vector<TestTensor> next = Trained(tuned_, 11);
  UploadWith("bits", FilesOf(next), "base", Policy(store::v1::NEAR_LOSSLESS, 3, true));
  UploadWith("sparse", FilesOf(next), "base", Policy(store::v1::SPARSE, 0.9));
  RunJobs();
  EXPECT_EQ(RecordOf("bits").storage_parent_id(), RecordOf("base").id());
  EXPECT_EQ(RecordOf("sparse").storage_parent_id(), RecordOf("base").id());
}

TEST_F(LossyTest, ARepackKeepsTheServedBytes) {
  ASSERT_TRUE(Upload("base", FilesOf(base_)).ok());
  UploadWith("lossy", FilesOf(tuned_), "base", Policy(store::v1::SPARSE, 0.9));
  RunJobs();
  const ModelRecord before = RecordOf("lossy");
  const Files served = ReadBack("lossy");
  ASSERT_TRUE(store_->models().Repack("lossy", store::v1::MAX).ok());
  RunJobs();
  const ModelRecord after = RecordOf("lossy");
  EXPECT_EQ(after.digest(), before.digest());
  EXPECT_LE(after.stored_bytes(), before.stored_bytes());
  EXPECT_EQ(after.outcome().SerializeAsString(), before.outcome().SerializeAsString());
  EXPECT_TRUE((*Open("lossy"))->stored()->file().fidelity.has_value());
  EXPECT_EQ(ReadBack("lossy"), served);
}

TEST_F(LossyTest, AnImportKeepsChunksAndRecord) {
  ASSERT_TRUE(Upload("base", FilesOf(base_)).ok());
  UploadWith("lossy", FilesOf(tuned_), "base", Policy(store::v1::NEAR_LOSSLESS, 0.1));
  RunJobs();
  const ModelRecord exported = RecordOf("lossy");
  std::string bytes(exported.stored_bytes(), '\0');
  ASSERT_TRUE(store_->reader().OpenDelta(exported)->Read(0, bytes.data(), bytes.size()).ok());
  StartUploadParams params;
  params.name = "again";
  params.kind = store::v1::UploadRecord::WDELTA;
  ASSERT_TRUE(Upload(std::move(params), {{"model.wdelta", bytes}}).ok());
  RunJobs();
  const ModelRecord imported = RecordOf("again");
  EXPECT_EQ(imported.digest(), exported.digest());
  EXPECT_EQ(imported.delta_digest(), exported.delta_digest());
  EXPECT_TRUE(imported.outcome().lossy());
  EXPECT_EQ(imported.outcome().relative_error(), exported.outcome().relative_error());
}

TEST_F(LossyTest, ACrashAtAnyStepIsHarmless) {
  ASSERT_TRUE(Upload("base", FilesOf(base_)).ok());
  RunJobs();
  UploadWith("whole", FilesOf(tuned_), "base", Policy(store::v1::NEAR_LOSSLESS, 0.1));
  RunJobs();
  const std::string digest = RecordOf("whole").digest();
  for (int steps = 0;; ++steps) {
    SCOPED_TRACE(steps);
    const std::string name = "lossy" + std::to_string(steps);
    UploadWith(name, FilesOf(tuned_), "base", Policy(store::v1::NEAR_LOSSLESS, 0.1));
    crash_.steps_left = steps;
    TryJobs().IgnoreError();
    const bool crashed = crash_.crashed();
    Restart();
    clock_.Advance(absl::Minutes(1));
    RunJobs();
    EXPECT_EQ(RecordOf(name).digest(), digest);
    if (!crashed) break;
    ASSERT_LT(steps, 100);
  }
}

}  // namespace
}  // namespace wdelta
