// FetchDelta for clients that hold other models.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "storage/base/checksum.h"
#include "storage/base/digest.h"
#include "storage/base/limits.h"
#include "tests/server/test_server.h"

namespace wdelta::testing {
namespace {

struct ReceivedDelta {
  v1::FileHeader header;
  std::string data;
  v1::Trailer trailer;
};

struct ReceivedDeltas {
  grpc::Status status;
  std::vector<ReceivedDelta> deltas;
};

ReceivedDeltas FetchDelta(TestServer& server, const v1::FetchDeltaRequest& request) {
  ReceivedDeltas received;
  grpc::ClientContext context;
  const auto reader = server.fetch->FetchDelta(&context, request);
  v1::FetchFileResponse message;
  bool is_between = true;
  while (reader->Read(&message)) {
    if (message.has_header()) {
      EXPECT_TRUE(is_between);
      received.deltas.push_back({message.header(), "", {}});
      is_between = false;
    } else if (message.has_piece()) {
      ReceivedDelta& delta = received.deltas.back();
      EXPECT_EQ(message.piece().offset(), delta.header.offset() + delta.data.size());
      EXPECT_EQ(message.piece().crc32c(), Crc32c(message.piece().data()));
      delta.data += message.piece().data();
    } else {
      received.deltas.back().trailer = message.trailer();
      EXPECT_EQ(message.trailer().sent_bytes(), received.deltas.back().data.size());
      is_between = true;
    }
  }
  received.status = reader->Finish();
  return received;
}

v1::FetchDeltaRequest Request(const std::string& model, const std::vector<std::string>& held) {
  v1::FetchDeltaRequest request;
  request.set_model(model);
  for (const std::string& reference : held) request.add_held_models(reference);
  return request;
}

class FetchDeltaTest : public ::testing::Test {
 protected:
  // `tuned` is stored against `base`, and `twice` against `tuned`; `sibling` is another
  // fine-tune of `base`.
  void PushFamily(TestServer& server) {
    std::vector<TestTensor> tensors = {RandomWeights("w", {512, 640}, 1)};
    const auto push = [&](const std::string& name, const std::vector<TestTensor>& weights,
                          const std::vector<std::string>& parents) {
      ids_[name] =
          server.Push(name, {{"model.safetensors", BuildSafetensors(weights)}}, parents).id();
      server.RunJobs();
    };
    push("base", tensors, {});
    push("sibling", {FineTuned(tensors[0], 9)}, {"base"});
    tensors[0] = FineTuned(tensors[0], 2);
    push("tuned", tensors, {"base"});
    tensors[0] = FineTuned(tensors[0], 3);
    push("twice", tensors, {"tuned"});
  }

  std::map<std::string, std::string> ids_;
};

TEST_F(FetchDeltaTest, SendsTheStoredDeltaToTheStorageParent) {
  TestServer server;
  PushFamily(server);
  const ReceivedDeltas received = FetchDelta(server, Request("twice", {"tuned"}));
  ASSERT_TRUE(received.status.ok()) << received.status.error_message();
  ASSERT_EQ(received.deltas.size(), 1u);
  const ReceivedDelta& delta = received.deltas[0];
  EXPECT_EQ(delta.header.delta().model(), "id:" + ids_["twice"]);
  EXPECT_EQ(delta.header.delta().parent_model(), "id:" + ids_["tuned"]);
  EXPECT_EQ(delta.header.delta().delta_id(), "sha256:" + Digest::Of(delta.data).ToHex());
  EXPECT_FALSE(delta.header.delta().folded());
  EXPECT_EQ(delta.header.size_bytes(), delta.data.size());
  EXPECT_EQ(delta.trailer.sha256(), Digest::Of(delta.data).ToHex());
  // The same as without held models.
  const ReceivedDeltas plain = FetchDelta(server, Request("twice", {}));
  ASSERT_EQ(plain.deltas.size(), 1u);
  EXPECT_TRUE(plain.deltas[0].data == delta.data);
}

TEST_F(FetchDeltaTest, FoldsAndResumesByOffset) {
  TestServer server;
  PushFamily(server);
  v1::FetchDeltaRequest request = Request("twice", {"sibling"});
  const ReceivedDeltas whole = FetchDelta(server, request);
  ASSERT_TRUE(whole.status.ok()) << whole.status.error_message();
  ASSERT_EQ(whole.deltas.size(), 1u);
  const ReceivedDelta& delta = whole.deltas[0];
  EXPECT_TRUE(delta.header.delta().folded());
  EXPECT_EQ(delta.header.size_bytes(), 0u);
  EXPECT_EQ(delta.header.delta().parent_model(), "id:" + ids_["sibling"]);
  EXPECT_EQ(delta.trailer.sha256(), Digest::Of(delta.data).ToHex());

  request.set_delta_id(delta.header.delta().delta_id());
  for (const uint64_t offset :
       {uint64_t{1}, uint64_t{delta.data.size() - 1}, uint64_t{delta.data.size()}}) {
    request.set_offset(offset);
    const ReceivedDeltas rest = FetchDelta(server, request);
    ASSERT_TRUE(rest.status.ok()) << rest.status.error_message();
    ASSERT_EQ(rest.deltas.size(), 1u);
    EXPECT_EQ(rest.deltas[0].header.offset(), offset);
    EXPECT_TRUE(rest.deltas[0].data == delta.data.substr(offset)) << offset;
    EXPECT_EQ(rest.deltas[0].trailer.sha256(), Digest::Of(delta.data).ToHex());
  }
  request.set_offset(delta.data.size() + 1);
  EXPECT_EQ(CodeAndReason(FetchDelta(server, request).status), "OUT_OF_RANGE OFFSET_PAST_END");
  request.set_delta_id("another");
  const ReceivedDeltas anew = FetchDelta(server, request);
  ASSERT_EQ(anew.deltas.size(), 1u);
  EXPECT_EQ(anew.deltas[0].header.offset(), 0u);
  EXPECT_TRUE(anew.deltas[0].data == delta.data);
}

TEST_F(FetchDeltaTest, ResumesAStoredDelta) {
  TestServer server;
  PushFamily(server);
  for (const std::vector<std::string>& held : {std::vector<std::string>{}, {"base"}}) {
    v1::FetchDeltaRequest request = Request("tuned", held);
    const std::string whole = FetchDelta(server, request).deltas.at(0).data;
    request.set_delta_id("sha256:" + Digest::Of(whole).ToHex());
    request.set_offset(1000);
    const ReceivedDeltas rest = FetchDelta(server, request);
    ASSERT_EQ(rest.deltas.size(), 1u);
    EXPECT_EQ(rest.deltas[0].header.length(), whole.size() - 1000);
    EXPECT_TRUE(rest.deltas[0].data == whole.substr(1000));
    request.set_offset(whole.size() + 1);
    EXPECT_EQ(CodeAndReason(FetchDelta(server, request).status), "OUT_OF_RANGE OFFSET_PAST_END");
  }
}

TEST_F(FetchDeltaTest, Errors) {
  TestServer server;
  PushFamily(server);
  server.Push("staged", SmallCheckpoint(5));
  const auto reason = [&](const std::string& model, const std::vector<std::string>& held) {
    return CodeAndReason(FetchDelta(server, Request(model, held)).status);
  };
  EXPECT_EQ(reason("twice", {"nosuch", "staged"}), "FAILED_PRECONDITION NO_HELD_MODEL");
  EXPECT_EQ(reason("twice", {"nosuch", "tuned"}), "OK");
  EXPECT_EQ(reason("staged", {"tuned"}), "FAILED_PRECONDITION MODEL_NOT_READY");
  EXPECT_EQ(reason("nosuch", {"tuned"}), "NOT_FOUND MODEL_NOT_FOUND");
  EXPECT_EQ(reason("twice", {"a//b"}), "INVALID_ARGUMENT BAD_NAME");
  EXPECT_EQ(reason("twice", std::vector<std::string>(limits::kMaxHeldModels + 1, "base")),
            "INVALID_ARGUMENT TOO_MANY_HELD_MODELS");
}

TEST_F(FetchDeltaTest, ABareNameIsTheNewestReadyVersion) {
  TestServer server;
  PushFamily(server);
  for (const char* name : {"twice", "tuned"}) {
    v1::StartUploadRequest start;
    start.set_name(name);
    start.set_new_version(true);
    const TestFiles files = SmallCheckpoint(5);
    const std::string upload = server.Open(start, files);
    ASSERT_TRUE(server.Write(TestServer::PiecesOf(upload, files)).ok());
    v1::FinishUploadResponse finished;
    ASSERT_TRUE(server.Finish(upload, &finished).ok());
  }
  for (const std::vector<std::string>& held : {std::vector<std::string>{}, {"tuned"}}) {
    const ReceivedDeltas received = FetchDelta(server, Request("twice", held));
    ASSERT_TRUE(received.status.ok()) << received.status.error_message();
    ASSERT_EQ(received.deltas.size(), 1u);
    EXPECT_EQ(received.deltas[0].header.delta().model(), "id:" + ids_["twice"]);
    EXPECT_EQ(received.deltas[0].header.delta().parent_model(), "id:" + ids_["tuned"]);
  }
}

// Readers of `a` that hold `b`, and take no more than the header of what is folded for them.
class SlowFoldingsTest : public FetchDeltaTest {
 protected:
  // The common part is worth building upon; the rest is larger than what a stream buffers and
  // what is folded ahead, so that a folding cannot end by itself.
  static void PushLarge(TestServer& server) {
    const TestTensor common = RandomWeights("common", {4096, 1024}, 1);
    const auto files = [&](uint32_t seed) {
      return TestFiles{{"model.safetensors",
                        BuildSafetensors({common, RandomWeights("w", {4096, 1536}, seed)})}};
    };
    const std::string target = "a", held = "b";
    server.Push(target, files(2));
    server.RunJobs();
    server.Push(held, files(3), {target});
    server.RunJobs();
  }

  void StartSlowReaders(TestServer& server, int count) {
    v1::FetchFileResponse message;
    for (int i = 0; i < count; ++i) {
      contexts_.push_back(std::make_unique<grpc::ClientContext>());
      readers_.push_back(server.fetch->FetchDelta(contexts_.back().get(), Request("a", {"b"})));
      ASSERT_TRUE(readers_.back()->Read(&message));
      ASSERT_TRUE(message.header().delta().folded());
    }
  }
  void ExpectCancelled() {
    v1::FetchFileResponse message;
    for (const auto& reader : readers_) {
      while (reader->Read(&message)) {
      }
      EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
    }
  }
  // As soon as there is a place.
  static grpc::Status FetchAtLast(TestServer& server) {
    const absl::Time deadline = absl::Now() + absl::Minutes(1);
    grpc::Status status;
    do {
      status = FetchDelta(server, Request("a", {"b"})).status;
    } while (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED && absl::Now() < deadline);
    return status;
  }

  std::vector<std::unique_ptr<grpc::ClientContext>> contexts_;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::FetchFileResponse>>> readers_;
};

TEST_F(SlowFoldingsTest, TooManyAreRefusedAndACancelledOneGivesItsPlaceBack) {
  TestServer server;
  PushLarge(server);
  StartSlowReaders(server, limits::kMaxFoldings);
  EXPECT_EQ(CodeAndReason(FetchDelta(server, Request("a", {"b"})).status),
            "RESOURCE_EXHAUSTED TOO_MANY_FOLDINGS");
  for (const auto& context : contexts_) context->TryCancel();
  ExpectCancelled();
  // The server hears of the cancellation a little later than the client.
  EXPECT_EQ(CodeAndReason(FetchAtLast(server)), "OK");
}

TEST_F(SlowFoldingsTest, AReaderThatTakesNothingIsGivenUp) {
  RpcOptions options;
  options.max_write_wait = absl::Seconds(1);
  options.max_foldings = 1;
  TestServer server(options);
  PushLarge(server);
  StartSlowReaders(server, 1);
  EXPECT_EQ(CodeAndReason(FetchAtLast(server)), "OK");
  ExpectCancelled();
}

TEST_F(SlowFoldingsTest, WithoutAPlaceStoredDeltasAreSent) {
  RpcOptions options;
  options.max_foldings = 1;
  TestServer server(options);
  PushFamily(server);
  PushLarge(server);
  StartSlowReaders(server, 1);
  v1::FetchDeltaRequest request = Request("twice", {"base"});
  const ReceivedDeltas stored = FetchDelta(server, request);
  EXPECT_EQ(CodeAndReason(stored.status), "OK");
  ASSERT_EQ(stored.deltas.size(), 2u);
  EXPECT_EQ(stored.deltas[0].header.delta().parent_model(), "id:" + ids_["base"]);
  for (const ReceivedDelta& delta : stored.deltas) EXPECT_FALSE(delta.header.delta().folded());
  // Neither is there one from a sibling, nor is the part of a folded one given up.
  EXPECT_EQ(CodeAndReason(FetchDelta(server, Request("twice", {"sibling"})).status),
            "RESOURCE_EXHAUSTED TOO_MANY_FOLDINGS");
  request.set_delta_id("folded:0123");
  request.set_offset(1);
  EXPECT_EQ(CodeAndReason(FetchDelta(server, request).status),
            "RESOURCE_EXHAUSTED TOO_MANY_FOLDINGS");
  contexts_[0]->TryCancel();
  ExpectCancelled();
}

}  // namespace
}  // namespace wdelta::testing
