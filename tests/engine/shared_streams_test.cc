// Equal tensors of several models are stored once, whichever models they come from.
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "storage/base/limits.h"
#include "tests/engine/gc_fixture.h"

namespace wdelta {
namespace {

using testing::BuildSafetensors;
using testing::Files;
using testing::FineTuned;
using testing::RandomWeights;
using testing::TestTensor;

class SharedStreamsTest : public testing::GcFixture {
 protected:
  static Files FilesOf(const std::vector<TestTensor>& tensors) {
    return {{"model.safetensors", BuildSafetensors(tensors)}};
  }

  // Bytes that the store grows by.
  uint64_t GrowthBy(const std::string& name, const std::vector<TestTensor>& tensors,
                    const std::vector<std::string>& parents = {}) {
    const uint64_t before = StoredBytes();
    UploadReady(name, FilesOf(tensors), parents);
    return StoredBytes() - before;
  }

  const TestTensor embed_ = RandomWeights("embed", {64, 512}, 1);
  const TestTensor up_ = RandomWeights("up", {1400, 512}, 2);
  const TestTensor down_ = RandomWeights("down", {1024, 600}, 3);
  // What headers and small payloads take.
  static constexpr uint64_t kLittle = 2 * limits::kMinSharedPayloadBytes;
};

TEST_F(SharedStreamsTest, AModelOfTensorsOfTwoFineTunesCostsNothing) {
  UploadReady("base", FilesOf({embed_, up_, down_}));
  const TestTensor left_up = FineTuned(up_, 11);
  const TestTensor right_down = FineTuned(down_, 12);
  UploadReady("left", FilesOf({FineTuned(embed_, 13), left_up, FineTuned(down_, 14)}), {"base"});
  UploadReady("right", FilesOf({FineTuned(embed_, 15), FineTuned(up_, 16), right_down}), {"base"});
  for (const char* const name : {"left", "right"}) {
    ASSERT_EQ(RecordOf(name).storage_parent_id(), ids_["base"]);
  }
  EXPECT_LT(GrowthBy("mix", {embed_, left_up, right_down}, {"left", "right"}), kLittle);
  EXPECT_EQ(RecordOf("mix").storage_parent_id(), ids_["base"]);
  EXPECT_LT(GrowthBy("undeclared", {embed_, right_down, left_up}), kLittle);
  ExpectAllReadable();

  // Each holds what it needs of the others.
  Delete("left");
  RunGc();
  Delete("mix");
  RunGc();
  ExpectAllReadable();
  for (const char* const name : {"right", "undeclared", "base"}) Delete(name);
  RunGc();
  EXPECT_THAT(BlobHexes(), ::testing::IsEmpty());
}

TEST_F(SharedStreamsTest, AModelOfTensorsOfTwoStrangersCostsNothing) {
  const TestTensor gate = RandomWeights("gate", {512, 700}, 4);
  const TestTensor proj = RandomWeights("proj", {600, 512}, 5);
  UploadReady("one", FilesOf({embed_, up_, gate}));
  UploadReady("other", FilesOf({down_, proj}));
  EXPECT_LT(GrowthBy("mix", {up_, proj}), kLittle);
  EXPECT_EQ(RecordOf("mix").storage_parent_id(), "");
  ExpectAllReadable();
}

// Encoded without loss, the same tensor has another payload than the lossy one has.
TEST_F(SharedStreamsTest, WhatIsStoredWithLossIsTakenFromItsModel) {
  UploadReady("base", FilesOf({up_, down_}));
  StartUploadParams params;
  params.name = "lossy";
  params.parents.push_back({"base", {}, {}});
  params.fidelity.mutable_all()->set_strategy(store::v1::ONE_BIT);
  ASSERT_TRUE(Upload(std::move(params), FilesOf({FineTuned(up_, 21), FineTuned(down_, 22)})).ok());
  RunJobs();
  ASSERT_TRUE(RecordOf("lossy").outcome().lossy());
  Files again = ReadBack("lossy");
  again["note.txt"] = "the same weights";
  const uint64_t before = StoredBytes();
  UploadReady("again", again);
  EXPECT_EQ(RecordOf("again").storage_parent_id(), RecordOf("lossy").id());
  EXPECT_LT(StoredBytes() - before, kLittle);
  ExpectAllReadable();
}

// What lies around a large payload does not change where its pieces are cut.
TEST_F(SharedStreamsTest, PiecesFollowPayloadsWhateverLiesBetween) {
  UploadReady("one", FilesOf({up_}));
  std::vector<TestTensor> tensors;
  for (uint32_t i = 0; i < 20; ++i) {
    tensors.push_back(RandomWeights("norm" + std::to_string(i), {64 + i}, 100 + i));
  }
  tensors.push_back(up_);
  for (uint32_t i = 0; i < 20; ++i) {
    tensors.push_back(RandomWeights("scale" + std::to_string(i), {32 + i}, 200 + i));
  }
  // Not even the same name: it is found by its content.
  tensors[20].name = "renamed";
  EXPECT_LT(GrowthBy("two", tensors), kLittle);
  for (const char* const name : {"one", "two"}) {
    const std::vector<std::string> pieces = PiecesOf(RecordOf(name));
    EXPECT_LE(pieces.size(), 4u) << name;
  }
  ExpectAllReadable();
}

}  // namespace
}  // namespace wdelta
