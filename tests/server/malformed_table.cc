#include "tests/server/malformed_table.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace wdelta::testing {

using ::testing::HasSubstr;

MalformedInputTest::MalformedInputTest() {
  server_.Push("good", good_);
  server_.Push("tuned", SmallCheckpoint(1, 2), {"good"});
  server_.RunJobs();
}

void MalformedInputTest::TearDown() {
  for (const std::string& upload : open_uploads_) {
    v1::CancelUploadRequest request;
    request.set_upload(upload);
    const grpc::Status cancelled =
        Call(*server_.uploads, &v1::Uploads::Stub::CancelUpload, request);
    EXPECT_EQ(CodeAndReason(cancelled), "OK") << cancelled.error_message();
  }
  for (const auto& [path, bytes] : good_) {
    EXPECT_TRUE(server_.FetchFile("good", path).data == bytes) << path;
  }
  grpc::ClientContext context;
  v1::ListModelsResponse models;
  EXPECT_TRUE(server_.models->ListModels(&context, {}, &models).ok());
  EXPECT_EQ(models.models_size(), 2) << models.ShortDebugString();
  grpc::ClientContext uploads_context;
  v1::ListUploadsResponse uploads;
  EXPECT_TRUE(server_.uploads->ListUploads(&uploads_context, {}, &uploads).ok());
  EXPECT_EQ(uploads.uploads_size(), 0) << uploads.ShortDebugString();
}

void MalformedInputTest::Run(const std::vector<MalformedCase>& cases, size_t min_cases) {
  std::set<std::string> labels;
  for (const MalformedCase& item : cases) {
    SCOPED_TRACE(item.label);
    EXPECT_TRUE(labels.insert(item.label).second) << "twice";
    ASSERT_FALSE(item.words.empty());
    const grpc::Status status = item.call();
    EXPECT_EQ(CodeAndReason(status), item.code_and_reason) << status.error_message();
    for (const std::string& word : item.words) {
      EXPECT_THAT(status.error_message(), HasSubstr(word));
    }
  }
  EXPECT_GE(cases.size(), min_cases);
}

std::string MalformedInputTest::OpenUpload(const TestFiles& files) {
  v1::StartUploadRequest request;
  request.set_name(absl::StrCat("bad-", ++next_name_));
  open_uploads_.push_back(server_.Open(request, files));
  return open_uploads_.back();
}

grpc::Status MalformedInputTest::FinishOf(const TestFiles& files, v1::UploadKind kind) {
  v1::StartUploadRequest request;
  request.set_name(absl::StrCat("bad-", ++next_name_));
  request.set_kind(kind);
  const std::string upload = server_.Open(request, files);
  const grpc::Status written = server_.Write(TestServer::PiecesOf(upload, files));
  if (!written.ok()) return written;
  v1::FinishUploadResponse response;
  const grpc::Status finished = server_.Finish(upload, &response);
  v1::CancelUploadRequest cancel;
  cancel.set_upload(upload);
  const grpc::Status cancelled = Call(*server_.uploads, &v1::Uploads::Stub::CancelUpload, cancel);
  EXPECT_EQ(CodeAndReason(cancelled), "OK") << cancelled.error_message();
  return finished;
}

}  // namespace wdelta::testing
