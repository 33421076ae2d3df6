#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "storage/base/digest.h"
#include "tests/server/test_server.h"

namespace wdelta::testing {
namespace {

void ExpectAllFilesEqual(TestServer& server, const std::string& model, const TestFiles& files) {
  for (const auto& [path, data] : files) {
    const Fetched fetched = server.FetchFile(model, path);
    EXPECT_TRUE(fetched.status.ok()) << fetched.status.error_message();
    EXPECT_TRUE(fetched.data == data) << model << "/" << path;
    ASSERT_TRUE(fetched.trailer.has_value());
    EXPECT_EQ(fetched.trailer->sent_bytes(), data.size());
    EXPECT_EQ(fetched.trailer->sha256(), Digest::Of(data).ToHex());
  }
}

TEST(FetchService, FilesAreEqualBeforeAndAfterCompression) {
  TestServer server;
  const TestFiles base = SmallCheckpoint(1);
  const TestFiles tuned = SmallCheckpoint(1, 7);
  server.Push("base", base);
  server.Push("tuned", tuned, {"base"});
  ExpectAllFilesEqual(server, "base", base);
  ExpectAllFilesEqual(server, "tuned", tuned);
  server.RunJobs();
  v1::GetModelRequest request;
  request.set_model("tuned");
  v1::Model model;
  grpc::ClientContext context;
  ASSERT_TRUE(server.models->GetModel(&context, request, &model).ok());
  EXPECT_EQ(model.state(), v1::Model::READY);
  EXPECT_LT(model.stored_bytes(), model.raw_bytes());
  EXPECT_FALSE(model.storage().parent().empty());
  ExpectAllFilesEqual(server, "base", base);
  ExpectAllFilesEqual(server, "tuned", tuned);
}

TEST(FetchService, RangesOfAFile) {
  TestServer server;
  const TestFiles files = SmallCheckpoint(1);
  const std::string& whole = files.at("model.safetensors");
  server.Push("m", files);
  server.RunJobs();
  struct Row {
    uint64_t offset, length;
  };
  for (const Row& row : {Row{0, 1}, Row{7, 300}, Row{262'143, 2}, Row{100'000, 400'000},
                         Row{whole.size() - 1, 0}, Row{whole.size() - 1, 9}}) {
    v1::FetchFileRequest request;
    request.set_model("m");
    request.set_path("model.safetensors");
    request.set_offset(row.offset);
    request.set_length(row.length);
    const Fetched fetched = server.FetchFile(request);
    ASSERT_TRUE(fetched.status.ok()) << fetched.status.error_message();
    EXPECT_TRUE(fetched.data ==
                whole.substr(row.offset, row.length == 0 ? std::string::npos : row.length))
        << row.offset << " " << row.length;
    EXPECT_EQ(fetched.header.size_bytes(), whole.size());
    EXPECT_EQ(fetched.header.length(), fetched.data.size());
    EXPECT_EQ(fetched.trailer->sha256(), "");
  }
  v1::FetchFileRequest request;
  request.set_model("m");
  request.set_path("model.safetensors");
  request.set_offset(whole.size());
  const Fetched at_end = server.FetchFile(request);
  EXPECT_TRUE(at_end.status.ok());
  EXPECT_EQ(at_end.data, "");
  request.set_offset(whole.size() + 1);
  EXPECT_EQ(CodeAndReason(server.FetchFile(request).status), "OUT_OF_RANGE OFFSET_PAST_END");
  EXPECT_EQ(CodeAndReason(server.FetchFile("m", "nosuch").status), "NOT_FOUND FILE_NOT_FOUND");
  EXPECT_EQ(CodeAndReason(server.FetchFile("x", "y").status), "NOT_FOUND MODEL_NOT_FOUND");
}

struct FetchedTensors {
  grpc::Status status;
  std::vector<std::string> names;
  std::map<std::string, std::string> data;
};

FetchedTensors FetchTensors(TestServer& server, const std::vector<std::string>& patterns) {
  v1::FetchTensorsRequest request;
  request.set_model("m");
  for (const std::string& pattern : patterns) request.add_name_patterns(pattern);
  FetchedTensors fetched;
  grpc::ClientContext context;
  const auto reader = server.fetch->FetchTensors(&context, request);
  v1::FetchTensorsResponse message;
  while (reader->Read(&message)) {
    if (message.has_header()) {
      fetched.names.push_back(message.header().name());
      fetched.data[fetched.names.back()] = "";
      continue;
    }
    std::string& data = fetched.data[fetched.names.back()];
    if (message.has_piece()) {
      EXPECT_EQ(message.piece().offset(), data.size());
      data += message.piece().data();
    } else {
      EXPECT_EQ(message.trailer().sent_bytes(), data.size());
      EXPECT_EQ(message.trailer().sha256(), Digest::Of(data).ToHex());
    }
  }
  fetched.status = reader->Finish();
  return fetched;
}

TEST(FetchService, TensorsByPattern) {
  TestServer server;
  std::vector<TestTensor> tensors;
  // More than are opened ahead.
  for (uint32_t i = 0; i < 200; ++i) {
    tensors.push_back(RandomWeights(absl::StrCat("layers.", i, ".w"), {i % 5, 3}, i));
  }
  tensors.push_back(RandomWeights("big.weight", {1024, 1500}, 1));
  server.Push("m", {{"model.safetensors", BuildSafetensors(tensors)}});
  for (const bool is_compressed : {false, true}) {
    if (is_compressed) server.RunJobs();
    const FetchedTensors all = FetchTensors(server, {});
    EXPECT_TRUE(all.status.ok()) << all.status.error_message();
    ASSERT_EQ(all.names.size(), tensors.size());
    for (const TestTensor& tensor : tensors) {
      EXPECT_TRUE(all.data.at(tensor.name) == tensor.data) << tensor.name;
    }
    const FetchedTensors some = FetchTensors(server, {"layers.1?.w", "big.*"});
    EXPECT_TRUE(some.status.ok()) << some.status.error_message();
    EXPECT_EQ(some.names.size(), 11u);
  }
  EXPECT_EQ(CodeAndReason(FetchTensors(server, {"none"}).status), "NOT_FOUND NO_TENSOR_MATCHES");
  EXPECT_EQ(CodeAndReason(FetchTensors(server, {""}).status), "INVALID_ARGUMENT BAD_PATTERN");
}

TEST(FetchService, DeltaOfAReadyModel) {
  TestServer server;
  server.Push("m", SmallCheckpoint(1));
  v1::FetchDeltaRequest request;
  request.set_model("m");
  v1::FetchFileResponse message;
  {
    grpc::ClientContext context;
    const auto reader = server.fetch->FetchDelta(&context, request);
    EXPECT_FALSE(reader->Read(&message));
    EXPECT_EQ(CodeAndReason(reader->Finish()), "FAILED_PRECONDITION MODEL_NOT_READY");
  }
  server.RunJobs();
  std::string data, sha256;
  grpc::ClientContext context;
  const auto reader = server.fetch->FetchDelta(&context, request);
  while (reader->Read(&message)) {
    data += message.piece().data();
    if (message.has_trailer()) sha256 = message.trailer().sha256();
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(Digest::Of(data).ToHex(), sha256);
}

TEST(FetchService, OneAfterTheOtherTakesOnePlace) {
  RpcOptions options;
  options.max_fetches = 1;
  TestServer server(options);
  server.UseSocket();
  server.Push("m", SmallCheckpoint(1));
  for (int i = 0; i < 300; ++i) {
    ASSERT_EQ(CodeAndReason(server.FetchFile("m", "config.json").status), "OK") << i;
  }
}

TEST(FetchService, ACancelledFetchGivesItsPlaceBack) {
  RpcOptions options;
  options.max_fetches = 1;
  options.max_waiting_fetches = 0;
  TestServer server(options);
  // Larger than what a stream buffers, so that the fetch cannot end by itself.
  const TestFiles files = {
      {"model.safetensors", BuildSafetensors({RandomWeights("w", {4096, 4096}, 1)})}};
  server.Push("m", files);
  v1::FetchFileRequest request;
  request.set_model("m");
  request.set_path("model.safetensors");
  {
    grpc::ClientContext context;
    const auto reader = server.fetch->FetchFile(&context, request);
    v1::FetchFileResponse message;
    ASSERT_TRUE(reader->Read(&message));
    EXPECT_EQ(CodeAndReason(server.FetchFile("m", "model.safetensors").status),
              "RESOURCE_EXHAUSTED TOO_MANY_FETCHES");
    context.TryCancel();
    while (reader->Read(&message)) {
    }
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  // The server hears of the cancellation a little later than the client.
  Fetched fetched = server.FetchFile("m", "model.safetensors");
  while (fetched.status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) {
    fetched = server.FetchFile("m", "model.safetensors");
  }
  EXPECT_TRUE(fetched.status.ok()) << fetched.status.error_message();
  EXPECT_TRUE(fetched.data == files.at("model.safetensors"));
}

}  // namespace
}  // namespace wdelta::testing
