// Fidelity and repack through the services.
#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/test_server.h"

namespace wdelta::testing {
namespace {

class FidelityServiceTest : public ::testing::Test {
 protected:
  grpc::Status Start(const v1::FidelityPolicy& policy) {
    v1::StartUploadRequest request;
    request.set_name("refused");
    *request.mutable_fidelity() = policy;
    v1::Upload upload;
    grpc::ClientContext context;
    return server_.uploads->StartUpload(&context, request, &upload);
  }
  v1::Model Get(const std::string& model) {
    v1::GetModelRequest request;
    request.set_model(model);
    v1::Model response;
    grpc::ClientContext context;
    const grpc::Status status = server_.models->GetModel(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  grpc::Status Repack(const v1::RepackModelRequest& request, v1::RepackModelResponse* response) {
    grpc::ClientContext context;
    return server_.models->RepackModel(&context, request, response);
  }

  TestServer server_;
};

TEST_F(FidelityServiceTest, RefusesBadPolicies) {
  v1::FidelityPolicy policy;
  policy.mutable_near_lossless();
  EXPECT_EQ(CodeAndReason(Start(policy)), "INVALID_ARGUMENT BAD_FIDELITY");
  policy.mutable_near_lossless()->set_relative_error(0.1);
  policy.mutable_near_lossless()->set_bits_per_weight(4);
  const grpc::Status both = Start(policy);
  EXPECT_EQ(CodeAndReason(both), "INVALID_ARGUMENT BAD_FIDELITY");
  EXPECT_THAT(both.error_message(), ::testing::HasSubstr("found both"));
  policy.mutable_near_lossless()->clear_bits_per_weight();
  for (const double bad : {0.0, -1.0, 1.0, std::nan("")}) {
    policy.mutable_near_lossless()->set_relative_error(bad);
    EXPECT_EQ(CodeAndReason(Start(policy)), "INVALID_ARGUMENT BAD_FIDELITY") << bad;
  }
  policy.mutable_sparse()->set_sparsity(1);
  EXPECT_EQ(CodeAndReason(Start(policy)), "INVALID_ARGUMENT BAD_FIDELITY");
  policy.mutable_one_bit();
  policy.add_rules()->set_name_pattern("*");
  const grpc::Status no_strategy = Start(policy);
  EXPECT_EQ(CodeAndReason(no_strategy), "INVALID_ARGUMENT BAD_FIDELITY");
  EXPECT_THAT(no_strategy.error_message(), ::testing::HasSubstr("fidelity.rules[0]"));
  policy.clear_rules();
  policy.set_effort(static_cast<v1::FidelityPolicy::Effort>(9));
  EXPECT_EQ(CodeAndReason(Start(policy)), "INVALID_ARGUMENT BAD_FIDELITY");
}

TEST_F(FidelityServiceTest, ALossyModelIsLabelled) {
  server_.Push("base", SmallCheckpoint(1));
  v1::StartUploadRequest request;
  request.set_name("lossy");
  request.add_parents()->set_model("base");
  request.mutable_fidelity()->mutable_sparse()->set_sparsity(0.97);
  const TestFiles files = SmallCheckpoint(1, 7);
  const std::string upload = server_.Open(request, files);
  ASSERT_TRUE(server_.Write(TestServer::PiecesOf(upload, files)).ok());
  v1::FinishUploadResponse finished;
  ASSERT_TRUE(server_.Finish(upload, &finished).ok());
  EXPECT_EQ(finished.model().digest(), "");
  EXPECT_FALSE(finished.model().has_fidelity_outcome());
  EXPECT_EQ(CodeAndReason(server_.FetchFile("lossy", "model.safetensors").status),
            "FAILED_PRECONDITION MODEL_NOT_READY");
  server_.RunJobs();

  const v1::Model model = Get("lossy");
  EXPECT_EQ(model.fidelity().sparse().sparsity(), 0.97);
  EXPECT_TRUE(model.fidelity_outcome().lossy());
  EXPECT_GT(model.fidelity_outcome().relative_error(), 0);
  EXPECT_NE(model.fidelity_outcome().uploaded_digest(), model.digest());
  EXPECT_TRUE(server_.FetchFile("lossy", "model.safetensors").status.ok());
  EXPECT_FALSE(Get("base").fidelity_outcome().lossy());

  v1::ListTensorsRequest list;
  list.set_model("lossy");
  v1::ListTensorsResponse tensors;
  grpc::ClientContext context;
  ASSERT_TRUE(server_.models->ListTensors(&context, list, &tensors).ok());
  uint64_t lossy = 0;
  for (const v1::Tensor& tensor : tensors.tensors()) {
    EXPECT_TRUE(tensor.has_storage());
    if (tensor.storage().fidelity().strategy() == v1::TensorFidelity::SPARSE) ++lossy;
    if (tensor.shape_size() < 2) {
      EXPECT_FALSE(tensor.storage().has_fidelity()) << tensor.name();
    }
  }
  EXPECT_EQ(lossy, model.fidelity_outcome().lossy_tensor_count());
}

TEST_F(FidelityServiceTest, RepackAnswersWithAJob) {
  server_.Push("base", SmallCheckpoint(1));
  v1::RepackModelRequest request;
  request.set_model("base");
  v1::RepackModelResponse response;
  EXPECT_EQ(CodeAndReason(Repack(request, &response)), "FAILED_PRECONDITION MODEL_NOT_READY");
  server_.RunJobs();
  request.set_effort(static_cast<v1::FidelityPolicy::Effort>(9));
  EXPECT_EQ(CodeAndReason(Repack(request, &response)), "INVALID_ARGUMENT BAD_FIDELITY");
  request.set_effort(v1::FidelityPolicy::MAX);
  ASSERT_EQ(CodeAndReason(Repack(request, &response)), "OK");
  const v1::Model before = Get("base");
  EXPECT_EQ(before.repack_job(), response.job());
  server_.RunJobs();
  v1::GetJobRequest get;
  get.set_job(response.job());
  v1::Job job;
  grpc::ClientContext context;
  ASSERT_TRUE(server_.jobs->GetJob(&context, get, &job).ok());
  EXPECT_EQ(job.kind(), v1::Job::REPACK);
  EXPECT_EQ(job.state(), v1::Job::SUCCEEDED);
  EXPECT_EQ(Get("base").digest(), before.digest());
  EXPECT_LE(Get("base").stored_bytes(), before.stored_bytes());
}

}  // namespace
}  // namespace wdelta::testing
