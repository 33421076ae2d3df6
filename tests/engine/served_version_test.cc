// Which version of a name is fetched: the newest that can be.
#include "gmock/gmock.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/engine/content/reader.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta::testing {
namespace {

class ServedVersionTest : public EngineTest {
 protected:
  ServedVersionTest() {
    UploadVersion(1, false);
    RunJobs();
  }

  // Ids are in order of time.
  std::string UploadVersion(uint32_t seed, bool is_lossy) {
    clock_.Advance(absl::Seconds(1));
    StartUploadParams params;
    params.name = std::string("m");
    params.new_version = true;
    if (is_lossy) {
      params.parents.push_back({"m", {}, {}});
      params.fidelity.mutable_all()->set_strategy(store::v1::NEAR_LOSSLESS);
      params.fidelity.mutable_all()->set_relative_error(0.1);
    }
    const Files files = {
        {"model.safetensors", BuildSafetensors({RandomWeights("w", {16, 64}, seed)})}};
    const absl::StatusOr<FinishedUpload> upload = Upload(std::move(params), files);
    EXPECT_TRUE(upload.ok()) << upload.status();
    return upload.ok() ? upload->model.record.id() : "";
  }

  std::string Fetched(const std::string& reference) {
    const absl::StatusOr<Model> model = store_->models().ResolveToFetch(reference);
    return model.ok() ? model->record.id() : ErrorReason(model.status());
  }
};

TEST_F(ServedVersionTest, ABareNameSkipsVersionsThatCannotBeFetched) {
  const std::string first = RecordOf("m").id();
  EXPECT_EQ(Fetched("m"), first);
  const std::string lossy = UploadVersion(2, true);
  EXPECT_EQ(RecordOf("m").id(), lossy) << "elsewhere it is the newest";
  EXPECT_EQ(Fetched("m"), first);
  EXPECT_EQ(Fetched("id:" + lossy), lossy) << "what is named exactly is not replaced";
  const std::string staged = UploadVersion(3, false);
  EXPECT_EQ(Fetched("m"), staged) << "served from its staged bytes";
  const std::string second_lossy = UploadVersion(4, true);
  EXPECT_EQ(Fetched("m"), staged);
  RunJobs();
  EXPECT_EQ(Fetched("m"), second_lossy) << "it is ready";
}

TEST_F(ServedVersionTest, AReadyVersionIsFoundBehindStagedOnes) {
  const auto ready = [&](const std::string& reference) {
    const absl::StatusOr<Model> model = store_->models().ResolveReady(reference);
    return model.ok() ? model->record.id() : ErrorReason(model.status());
  };
  const std::string first = RecordOf("m").id();
  const std::string staged = UploadVersion(2, false);
  EXPECT_EQ(Fetched("m"), staged);
  EXPECT_EQ(ready("m"), first);
  EXPECT_EQ(ready("id:" + staged), staged) << "what is named exactly is not replaced";
  RunJobs();
  EXPECT_EQ(ready("m"), staged);
  EXPECT_EQ(ready("nothing"), "MODEL_NOT_FOUND");
}

TEST_F(ServedVersionTest, TagsStayWhereTheyPoint) {
  const std::string lossy = UploadVersion(2, true);
  ASSERT_TRUE(store_->models().SetTag("m", "prod", "m").ok());
  EXPECT_EQ(Fetched("m@prod"), lossy);
}

TEST_F(ServedVersionTest, WithoutAnyTheNewestSaysWhy) {
  const std::string first = RecordOf("m").id();
  const std::string lossy = UploadVersion(2, true);
  const std::string other = UploadVersion(3, true);
  ASSERT_TRUE(store_->models().Delete("id:" + first).ok());
  EXPECT_EQ(Fetched("m"), other);
  EXPECT_EQ(ErrorReason(CheckCanBeFetched(RecordOf("m"))), "MODEL_NOT_READY");
  EXPECT_EQ(Fetched("nothing"), "MODEL_NOT_FOUND");
  EXPECT_EQ(Fetched("not a name"), "BAD_NAME");
}

TEST_F(ServedVersionTest, IsFoundBehindManyThatCannotBeFetched) {
  const std::string first = RecordOf("m").id();
  for (uint32_t i = 0; i < limits::kModelsPerScan + 1; ++i) UploadVersion(2, true);
  EXPECT_EQ(Fetched("m"), first);
}

}  // namespace
}  // namespace wdelta::testing
