#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/test_server.h"

namespace wdelta::testing {
namespace {

using ::testing::HasSubstr;

class MergeServiceTest : public ::testing::Test {
 protected:
  MergeServiceTest() {
    server_.Push("base", SmallCheckpoint(1));
    server_.Push("a", SmallCheckpoint(1, 7), {"base"});
    server_.Push("b", SmallCheckpoint(1, 8), {"base"});
  }

  static v1::MergeModelsRequest Ties() {
    v1::MergeModelsRequest request;
    request.set_name("merged");
    request.set_base("base");
    request.add_sources()->set_model("a");
    request.add_sources()->set_model("b");
    request.mutable_ties();
    return request;
  }

  grpc::Status Merge(const v1::MergeModelsRequest& request) {
    grpc::ClientContext context;
    response_.Clear();
    return server_.merge->MergeModels(&context, request, &response_);
  }

  v1::Model Get(const std::string& name) {
    v1::GetModelRequest request;
    request.set_model(name);
    v1::Model model;
    grpc::ClientContext context;
    EXPECT_EQ(CodeAndReason(server_.models->GetModel(&context, request, &model)), "OK");
    return model;
  }

  TestServer server_;
  v1::MergeModelsResponse response_;
};

TEST_F(MergeServiceTest, MakesAModelAndAJobWithDefaults) {
  ASSERT_EQ(CodeAndReason(Merge(Ties())), "OK");
  EXPECT_EQ(response_.model().state(), v1::Model::IMPORTING);
  EXPECT_EQ(response_.model().digest(), "");
  v1::GetJobRequest get;
  get.set_job(response_.job());
  v1::Job job;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(server_.jobs->GetJob(&context, get, &job).ok());
  }
  EXPECT_EQ(job.kind(), v1::Job::MERGE);
  EXPECT_EQ(job.model_name(), "merged");
  EXPECT_EQ(CodeAndReason(server_.FetchFile("merged", "config.json").status),
            "FAILED_PRECONDITION MODEL_IMPORTING");
  server_.RunJobs();
  const v1::Model model = Get("merged");
  EXPECT_EQ(model.state(), v1::Model::READY);
  EXPECT_EQ(model.metadata().at("merge.density"), "0.2");
  EXPECT_EQ(model.metadata().at("merge.lambda"), "1");
  EXPECT_EQ(model.metadata().at("merge.weights"), "1,1");
  ASSERT_EQ(model.parents_size(), 3);
  for (const v1::Parent& parent : model.parents()) {
    EXPECT_EQ(parent.relation(), v1::Parent::MERGE);
  }
  EXPECT_EQ(model.parents(2).metadata().at("weight"), "1");
  const Fetched fetched = server_.FetchFile("merged", "model.safetensors");
  EXPECT_TRUE(fetched.status.ok());
  EXPECT_NE(fetched.data, SmallCheckpoint(1).at("model.safetensors"));
}

// One source of weight 1: what comes out is that source.
TEST_F(MergeServiceTest, TaskArithmeticOfOneModelIsThatModel) {
  server_.RunJobs();
  v1::MergeModelsRequest request = Ties();
  request.mutable_task_arithmetic();
  request.mutable_sources()->RemoveLast();
  ASSERT_EQ(CodeAndReason(Merge(request)), "OK");
  server_.RunJobs();
  EXPECT_EQ(Get("merged").digest(), Get("a").digest());
}

TEST_F(MergeServiceTest, ARequestIdMakesItOnce) {
  server_.RunJobs();
  v1::MergeModelsRequest request = Ties();
  request.set_request_id("r1");
  ASSERT_EQ(CodeAndReason(Merge(request)), "OK");
  const v1::MergeModelsResponse first = response_;
  ASSERT_EQ(CodeAndReason(Merge(request)), "OK");
  EXPECT_EQ(response_.model().id(), first.model().id());
  EXPECT_EQ(response_.job(), first.job());
  request.mutable_ties()->set_density(0.5);
  EXPECT_EQ(CodeAndReason(Merge(request)), "ALREADY_EXISTS REQUEST_ID_REUSED");
  request.set_request_id("");
  EXPECT_EQ(CodeAndReason(Merge(request)), "ALREADY_EXISTS NAME_TAKEN");
  request.set_new_version(true);
  EXPECT_EQ(CodeAndReason(Merge(request)), "OK");
  // An upload's id is another request's.
  v1::StartUploadRequest upload;
  upload.set_request_id("r1");
  upload.set_name("x");
  v1::Upload opened;
  grpc::ClientContext context;
  EXPECT_EQ(CodeAndReason(server_.uploads->StartUpload(&context, upload, &opened)),
            "ALREADY_EXISTS REQUEST_ID_REUSED");
}

TEST_F(MergeServiceTest, RefusesWhatIsWrong) {
  server_.Push("other", {{"model.safetensors", BuildSafetensors({RandomWeights("w", {2}, 1)})}});
  const auto merge = [&](const std::function<void(v1::MergeModelsRequest&)>& change) {
    v1::MergeModelsRequest request = Ties();
    change(request);
    return CodeAndReason(Merge(request));
  };
  EXPECT_EQ(merge([](auto& r) { r.clear_method(); }), "INVALID_ARGUMENT BAD_METHOD");
  EXPECT_EQ(merge([](auto& r) { r.set_name(""); }), "INVALID_ARGUMENT BAD_NAME");
  EXPECT_EQ(merge([](auto& r) { r.clear_base(); }), "INVALID_ARGUMENT BAD_BASE");
  EXPECT_EQ(merge([](auto& r) { r.mutable_linear(); }), "INVALID_ARGUMENT BAD_BASE");
  EXPECT_EQ(merge([](auto& r) { r.clear_sources(); }), "INVALID_ARGUMENT BAD_SOURCES");
  EXPECT_EQ(merge([](auto& r) { r.mutable_sources(0)->set_weight(-1); }),
            "INVALID_ARGUMENT BAD_WEIGHT");
  EXPECT_EQ(merge([](auto& r) { r.mutable_ties()->set_density(2); }),
            "INVALID_ARGUMENT BAD_DENSITY");
  EXPECT_EQ(merge([](auto& r) {
              r.mutable_ties()->set_lambda_scale(std::numeric_limits<double>::infinity());
            }),
            "INVALID_ARGUMENT BAD_LAMBDA");
  EXPECT_EQ(merge([](auto& r) { r.mutable_sources(1)->set_model("a"); }),
            "INVALID_ARGUMENT MODEL_TWICE");
  EXPECT_EQ(merge([](auto& r) { r.mutable_sources(1)->set_model("nobody"); }),
            "NOT_FOUND MODEL_NOT_FOUND");
  v1::MergeModelsRequest request = Ties();
  request.mutable_sources(1)->set_model("other");
  const grpc::Status mismatch = Merge(request);
  EXPECT_EQ(CodeAndReason(mismatch), "FAILED_PRECONDITION TENSOR_MISMATCH");
  EXPECT_THAT(
      mismatch.error_message(),
      HasSubstr("model 'other': tensor 'embed.weight': expected BF16 [512,640], found none"));
}

TEST_F(MergeServiceTest, ACancelledMergeIsFailedAndCanBeRemoved) {
  server_.RunJobs();
  ASSERT_EQ(CodeAndReason(Merge(Ties())), "OK");
  v1::CancelJobRequest cancel;
  cancel.set_job(response_.job());
  v1::Job job;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(server_.jobs->CancelJob(&context, cancel, &job).ok());
  }
  EXPECT_EQ(job.state(), v1::Job::CANCELLED);
  EXPECT_EQ(Get("merged").state(), v1::Model::FAILED);
  EXPECT_THAT(Get("merged").error(), HasSubstr("was cancelled"));
  v1::DeleteModelRequest remove;
  remove.set_model("merged");
  google::protobuf::Empty nothing;
  grpc::ClientContext context;
  EXPECT_TRUE(server_.models->DeleteModel(&context, remove, &nothing).ok());
  EXPECT_EQ(CodeAndReason(Merge(Ties())), "OK");
}

}  // namespace
}  // namespace wdelta::testing
