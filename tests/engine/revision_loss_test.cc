// New versions of a model that was stored with loss.
#include <string>

#include "gtest/gtest.h"
#include "tests/engine/revision_fixture.h"
#include "tests/support/bf16.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta::testing {
namespace {

using store::v1::ModelRecord;

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

}  // namespace
}  // namespace wdelta::testing
