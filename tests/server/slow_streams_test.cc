// Clients that take or send next to nothing hold no thread that others need, and no memory
// beyond the window of each.
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "storage/engine/content/cursor.h"
#include "tests/server/test_server.h"

namespace wdelta::testing {
namespace {

constexpr int kSlow = 63;  // of the 64 streams that are served at once

v1::FetchFileRequest WholeOf(const std::string& model) {
  v1::FetchFileRequest request;
  request.set_model(model);
  request.set_path("model.safetensors");
  return request;
}

template <typename Reader>
struct SlowCall {
  grpc::ClientContext context;
  std::unique_ptr<Reader> reader;
};

// Ends a stream that its client does not read to the end.
template <typename Response, typename Reader>
void Abandon(SlowCall<Reader>& call) {
  call.context.TryCancel();
  Response response;
  while (call.reader->Read(&response)) {
  }
  EXPECT_EQ(call.reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST(SlowStreams, ReadersHoldNoThreadAndAWindowEach) {
  TestServer server({}, nullptr, /*chunk_cache_bytes=*/0);
  std::atomic<int>& reads = server.blobs().reads;
  server.Push("m",
              {{"model.safetensors", BuildSafetensors({RandomWeights("w", {4096, 3072}, 1)})}});
  server.RunJobs();
  const std::string whole = server.FetchFile(WholeOf("m")).data;
  reads = 0;
  ASSERT_TRUE(server.FetchFile(WholeOf("m")).data == whole);
  const int reads_of_one = reads;
  reads = 0;

  using Reader = grpc::ClientReader<v1::FetchFileResponse>;
  std::vector<std::unique_ptr<SlowCall<Reader>>> slow;
  v1::FetchFileResponse message;
  for (int i = 0; i < kSlow; ++i) {
    slow.push_back(std::make_unique<SlowCall<Reader>>());
    slow.back()->reader = server.fetch->FetchFile(&slow.back()->context, WholeOf("m"));
    ASSERT_TRUE(slow.back()->reader->Read(&message));  // the header
  }
  // The one place that is left is served as if there were nobody else.
  EXPECT_TRUE(server.FetchFile(WholeOf("m")).data == whole);
  EXPECT_EQ(server.Push("other", SmallCheckpoint(1)).state(), v1::Model::STAGED);
  server.RunJobs();
  // Each goes on at its own pace.
  for (const auto& call : slow) EXPECT_TRUE(call->reader->Read(&message));
  // What was decoded for readers who did not take it: their windows, never the model.
  const int reads_of_slow = reads - reads_of_one;
  std::printf("%d slow readers: %d reads of blobs, %d of one whole fetch\n", kSlow, reads_of_slow,
              reads_of_one);
  EXPECT_GT(reads_of_slow, 0);
  EXPECT_LT(reads_of_slow, kSlow * reads_of_one * 2 / 3);
  for (const auto& call : slow) Abandon<v1::FetchFileResponse>(*call);
}

TEST(SlowStreams, WritersHoldNoThread) {
  TestServer server;
  const TestFiles files = SmallCheckpoint(1);
  struct Writer {
    grpc::ClientContext context;
    v1::WriteEntriesResponse response;
    std::string upload;
    std::unique_ptr<grpc::ClientWriter<v1::WriteEntriesRequest>> stream;
  };
  std::vector<std::unique_ptr<Writer>> slow;
  for (int i = 0; i < kSlow; ++i) {
    slow.push_back(std::make_unique<Writer>());
    Writer& writer = *slow.back();
    v1::StartUploadRequest request;
    request.set_name(absl::StrCat("slow", i));
    writer.upload = server.Open(request, files);
    writer.stream = server.uploads->WriteEntries(&writer.context, &writer.response);
    EXPECT_TRUE(writer.stream->Write(TestServer::PiecesOf(writer.upload, files).front()));
  }
  EXPECT_EQ(server.Push("quick", files).state(), v1::Model::STAGED);
  EXPECT_TRUE(server.FetchFile("quick", "config.json").status.ok());
  // None has lost what it had sent.
  for (const auto& writer : slow) {
    writer->stream->WritesDone();
    EXPECT_EQ(CodeAndReason(writer->stream->Finish()), "OK");
    EXPECT_GT(writer->response.durable_bytes(), 0u);
  }
}

// Comparisons have a thread each: one whose client does not read gives it back.
TEST(SlowStreams, AComparisonThatNobodyReadsIsGivenUp) {
  constexpr int kTensors = 2000;
  RpcOptions options;
  options.max_write_wait = absl::Seconds(1);
  TestServer server(options);
  std::vector<TestTensor> tensors;
  for (int i = 0; i < kTensors; ++i) {
    tensors.push_back({absl::StrCat("layers.", i, ".weight"), DType::kU8, {1}, "x"});
  }
  server.Push("m", {{"model.safetensors", BuildSafetensors(tensors)}});
  v1::DiffRequest request;
  request.set_model_a("m");
  request.set_model_b("m");
  request.set_order(v1::DiffRequest::BY_NAME);
  using Reader = grpc::ClientReader<v1::DiffResponse>;
  std::vector<std::unique_ptr<SlowCall<Reader>>> slow;
  v1::DiffResponse part;
  for (int i = 0; i < limits::kMaxComparisons; ++i) {
    slow.push_back(std::make_unique<SlowCall<Reader>>());
    slow.back()->reader = server.compare->Diff(&slow.back()->context, request);
    ASSERT_TRUE(slow.back()->reader->Read(&part));
  }
  ASSERT_TRUE(server.environment().active_calls().AwaitNone(absl::Seconds(60)));
  grpc::ClientContext context;
  const auto reader = server.compare->Diff(&context, request);
  while (reader->Read(&part)) {
  }
  EXPECT_EQ(CodeAndReason(reader->Finish()), "OK");
  for (const auto& call : slow) {
    while (call->reader->Read(&part)) {
    }
    EXPECT_EQ(call->reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
}

}  // namespace
}  // namespace wdelta::testing
