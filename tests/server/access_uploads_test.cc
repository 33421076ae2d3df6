// What uploads of a token that is for some names may take from models of other names.
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/digest.h"
#include "tests/server/access_fixture.h"

namespace wdelta::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr char kDenied[] = "PERMISSION_DENIED NAME_NOT_ALLOWED";
constexpr char kNotFound[] = "NOT_FOUND MODEL_NOT_FOUND";
constexpr char kPath[] = "model.safetensors";

// `base`, which the token is not for, and `team-a`, which was made from it and is stored as a
// delta to it.
class AccessUploadsTest : public AccessTest {
 protected:
  AccessUploadsTest()
      : weights_(RandomWeights("w", {256, 512}, 1)), tuned_(FineTuned(weights_, 2)) {
    CallAs("all");
    base_ = server().Push("base", {{kPath, BuildSafetensors({weights_})}});
    server().RunJobs();
    team_ = server().Push("team-a", {{kPath, BuildSafetensors({tuned_})}}, {"base"});
    server().RunJobs();
    CallAs("team");
  }

  static v1::StartUploadRequest Named(const std::string& name, const std::string& parent) {
    v1::StartUploadRequest request;
    request.set_name(name);
    if (!parent.empty()) request.add_parents()->set_model(parent);
    return request;
  }
  static v1::StartUploadRequest Lossy(const std::string& name, const std::string& parent) {
    v1::StartUploadRequest request = Named(name, parent);
    request.mutable_fidelity()->mutable_sparse()->set_sparsity(0.97);
    return request;
  }
  grpc::Status Start(const v1::StartUploadRequest& request) {
    v1::Upload upload;
    grpc::ClientContext context;
    return server().uploads->StartUpload(&context, request, &upload);
  }
  std::string StoredDelta(const std::string& model) {
    v1::FetchDeltaRequest request;
    request.set_model(model);
    grpc::ClientContext context;
    const auto reader = server().fetch->FetchDelta(&context, request);
    v1::FetchFileResponse message;
    std::string data;
    while (reader->Read(&message)) data += message.piece().data();
    EXPECT_EQ(CodeAndReason(reader->Finish()), "OK");
    return data;
  }
  std::vector<uint32_t> Find(const std::string& upload, const std::string& content) {
    v1::FindContentRequest request;
    request.set_upload(upload);
    request.add_contents()->set_sha256(Digest::Of(content).ToHex());
    v1::FindContentResponse response;
    grpc::ClientContext context;
    EXPECT_EQ(CodeAndReason(server().uploads->FindContent(&context, request, &response)), "OK");
    return {response.found().begin(), response.found().end()};
  }
  // As the whole of the file kPath.
  std::string Copy(const std::string& upload, const std::string& content) {
    v1::WriteEntriesRequest piece;
    piece.set_upload(upload);
    piece.set_path(kPath);
    piece.mutable_copy()->set_sha256(Digest::Of(content).ToHex());
    piece.mutable_copy()->set_size_bytes(content.size());
    return CodeAndReason(server().Write({piece}));
  }

  const TestTensor weights_;
  const TestTensor tuned_;
  v1::Model base_;
  v1::Model team_;
};

TEST_F(AccessUploadsTest, LossIsAllowedAgainstOwnParentsOnly) {
  EXPECT_EQ(CodeAndReason(Start(Lossy("team-l", "base"))), kDenied);
  EXPECT_EQ(CodeAndReason(Start(Lossy("team-l", "nonexistent"))), kNotFound);
  const grpc::Status by_id = Start(Lossy("team-l", "id:" + base_.id()));
  EXPECT_EQ(CodeAndReason(by_id), kNotFound);
  EXPECT_THAT(by_id.error_message(), Not(HasSubstr("base")));
  v1::StartUploadRequest both = Lossy("team-l", "team-a");
  both.add_parents()->set_model("base");
  EXPECT_EQ(CodeAndReason(Start(both)), kDenied);
  EXPECT_EQ(CodeAndReason(Start(Lossy("team-l", "team-a"))), "OK");
  // Whose bits all come from the client.
  EXPECT_EQ(CodeAndReason(Start(Named("team-l", "base"))), "OK");
  CallAs("writer");
  EXPECT_EQ(CodeAndReason(Start(Lossy("team-l", "base"))), "OK");
}

TEST_F(AccessUploadsTest, WhatAnotherTokenBeganIsNotFinishedAgainstOthersModels) {
  CallAs("all");
  const TestFiles files = {{kPath, BuildSafetensors({FineTuned(weights_, 3)})}};
  const std::string upload = server().Open(Lossy("team-l", "base"), files);
  CallAs("team");
  EXPECT_EQ(CodeAndReason(server().Write(TestServer::PiecesOf(upload, files))), "OK");
  v1::FinishUploadResponse finished;
  EXPECT_EQ(CodeAndReason(server().Finish(upload, &finished)), kNotFound);
  CallAs("all");
  EXPECT_EQ(CodeAndReason(server().Finish(upload, &finished)), "OK");
}

// What is lost would tell of a model that it was measured against.
TEST_F(AccessUploadsTest, LossIsStoredAgainstOwnModelsOnly) {
  // Of another's, every weight is elsewhere; what is uploaded is nearer to it than to its parent.
  TestTensor secret = tuned_;
  std::mt19937 random(5);
  for (size_t i = 0; i < secret.data.size(); i += 2) {
    secret.data[i] = static_cast<char>(secret.data[i] ^ (random() % 64));
  }
  CallAs("all");
  const v1::Model other = server().Push("other", {{kPath, BuildSafetensors({secret})}}, {"base"});
  server().RunJobs();
  const TestFiles files = {{kPath, BuildSafetensors({FineTuned(secret, 3)})}};
  const auto store = [&](const std::string& caller, const std::string& name) {
    CallAs(caller);
    v1::StartUploadRequest request = Named(name, "team-a");
    request.mutable_fidelity()->mutable_near_lossless()->set_relative_error(0.2);
    const std::string upload = server().Open(request, files);
    EXPECT_EQ(CodeAndReason(server().Write(TestServer::PiecesOf(upload, files))), "OK");
    v1::FinishUploadResponse finished;
    EXPECT_EQ(CodeAndReason(server().Finish(upload, &finished)), "OK");
    server().RunJobs();
    CallAs("all");
    v1::GetModelRequest get;
    get.set_model(name);
    v1::Model stored;
    grpc::ClientContext context;
    EXPECT_EQ(CodeAndReason(server().models->GetModel(&context, get, &stored)), "OK");
    EXPECT_EQ(stored.state(), v1::Model::READY);
    return stored;
  };
  const v1::Model unlimited = store("all", "team-l");
  ASSERT_EQ(unlimited.storage().parent(), "id:" + other.id()) << "expected the nearest";
  const v1::Model limited = store("team", "team-m");
  EXPECT_EQ(limited.storage().parent(), "id:" + team_.id());
  EXPECT_TRUE(limited.fidelity_outcome().lossy());
}

TEST_F(AccessUploadsTest, AnImportIsOfAnOwnParent) {
  CallAs("all");
  const TestFiles files = {{"a.wdelta", StoredDelta("team-a")}};
  ASSERT_LT(files.at("a.wdelta").size(), weights_.data.size()) << "expected a delta";
  CallAs("team");
  v1::StartUploadRequest request = Named("team-i", "base");
  request.set_kind(v1::WDELTA);
  EXPECT_EQ(CodeAndReason(Start(request)), kDenied);
  // The file names it by its digest.
  request.clear_parents();
  const std::string upload = server().Open(request, files);
  ASSERT_EQ(CodeAndReason(server().Write(TestServer::PiecesOf(upload, files))), "OK");
  v1::FinishUploadResponse finished;
  const grpc::Status refused = server().Finish(upload, &finished);
  EXPECT_EQ(CodeAndReason(refused), kNotFound);
  EXPECT_THAT(refused.error_message(), Not(HasSubstr("'base'")));
  CallAs("all");
  EXPECT_EQ(CodeAndReason(server().Finish(upload, &finished)), "OK");
  server().RunJobs();
  EXPECT_EQ(server().FetchFile("team-i", kPath).data, BuildSafetensors({tuned_}));
}

TEST_F(AccessUploadsTest, ContentOfOthersIsNeitherToldNorCopied) {
  const TestFiles foreign = {{kPath, weights_.data}};
  const TestFiles own = {{kPath, tuned_.data}};
  for (const char* parent : {"", "base"}) {
    const std::string upload = server().Open(Named("team-c", parent), foreign);
    EXPECT_THAT(Find(upload, weights_.data), IsEmpty());
    EXPECT_THAT(Find(upload, tuned_.data), ElementsAre(0));
    EXPECT_EQ(Copy(upload, weights_.data), "NOT_FOUND CONTENT_NOT_FOUND");
    const std::string of_own = server().Open(Named("team-d", parent), own);
    EXPECT_EQ(Copy(of_own, tuned_.data), "OK");
    CallAs("writer");
    EXPECT_THAT(Find(upload, weights_.data), ElementsAre(0));
    EXPECT_EQ(Copy(upload, weights_.data), "OK");
    CallAs("team");
  }
}

}  // namespace
}  // namespace wdelta::testing
