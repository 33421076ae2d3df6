// Fetches beyond those that may go on at once wait their turn.
#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "tests/server/test_server.h"
#include "tests/support/test_seed.h"

namespace wdelta::testing {
namespace {

constexpr char kFile[] = "model.safetensors";
constexpr char kRefused[] = "RESOURCE_EXHAUSTED TOO_MANY_FETCHES";

RpcOptions Options(int max_fetches, int max_waiting) {
  RpcOptions options;
  options.max_fetches = max_fetches;
  options.max_waiting_fetches = max_waiting;
  return options;
}

struct Stream {
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReader<v1::FetchFileResponse>> reader;
};

class AdmissionFetchesTest : public ::testing::Test {
 protected:
  void Serve(const RpcOptions& options) {
    server_ = std::make_unique<TestServer>(options);
    server_->Push("large", large_);
    server_->Push("small", SmallCheckpoint(1));
  }
  AdmissionQueue& queue() { return server_->environment().fetches(); }

  std::unique_ptr<Stream> Begin(const std::string& model = "large") {
    auto stream = std::make_unique<Stream>();
    v1::FetchFileRequest request;
    request.set_model(model);
    request.set_path(kFile);
    stream->reader = server_->fetch->FetchFile(&stream->context, request);
    return stream;
  }
  // One that has a place and keeps it until it is read or cancelled.
  std::unique_ptr<Stream> Hold() {
    auto stream = Begin();
    v1::FetchFileResponse header;
    EXPECT_TRUE(stream->reader->Read(&header));
    return stream;
  }
  void AwaitWaiting(int count) {
    while (queue().waiting() != count) std::this_thread::yield();
  }
  static std::string ReadToEnd(Stream& stream) {
    v1::FetchFileResponse message;
    while (stream.reader->Read(&message)) {
    }
    return CodeAndReason(stream.reader->Finish());
  }

  // More than what is sent ahead to a client that does not read.
  const TestFiles large_ = {{kFile, BuildSafetensors({RandomWeights("w", {4096, 4096}, 1)})}};
  std::unique_ptr<TestServer> server_;
};

TEST_F(AdmissionFetchesTest, FetchesComeToTheirTurnsInOrder) {
  constexpr int kWaiting = 4;
  RpcOptions options = Options(1, kWaiting);
  // One that is overtaken is refused in the end.
  options.max_admission_wait = absl::Seconds(30);
  Serve(options);
  std::vector<std::unique_ptr<Stream>> streams;
  streams.push_back(Hold());
  for (int i = 1; i <= kWaiting; ++i) {
    streams.push_back(Begin());
    AwaitWaiting(i);
  }
  // Each is too large to end unread, and so to let one behind it have the place.
  for (int i = 0; i <= kWaiting; ++i) {
    EXPECT_EQ(queue().waiting(), kWaiting - i);
    EXPECT_EQ(ReadToEnd(*streams[i]), "OK") << i;
  }
  EXPECT_TRUE(server_->environment().active_calls().AwaitNone(absl::Seconds(60)));
  EXPECT_EQ(queue().taken(), 0);
}

TEST_F(AdmissionFetchesTest, EveryKindOfFetchWaits) {
  Serve(Options(1, 3));
  const auto holder = Hold();
  std::vector<std::string> outcomes(3);
  std::vector<std::thread> threads;
  threads.emplace_back(
      [&] { outcomes[0] = CodeAndReason(server_->FetchFile("small", kFile).status); });
  threads.emplace_back([&] {
    v1::FetchTensorsRequest request;
    request.set_model("small");
    grpc::ClientContext context;
    const auto reader = server_->fetch->FetchTensors(&context, request);
    v1::FetchTensorsResponse message;
    while (reader->Read(&message)) {
    }
    outcomes[1] = CodeAndReason(reader->Finish());
  });
  threads.emplace_back([&] {
    v1::FetchDeltaRequest request;
    request.set_model("small");
    grpc::ClientContext context;
    const auto reader = server_->fetch->FetchDelta(&context, request);
    v1::FetchFileResponse message;
    while (reader->Read(&message)) {
    }
    outcomes[2] = CodeAndReason(reader->Finish());
  });
  AwaitWaiting(3);
  EXPECT_EQ(ReadToEnd(*holder), "OK");
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(outcomes[0], "OK");
  EXPECT_EQ(outcomes[1], "OK");
  EXPECT_EQ(outcomes[2], "FAILED_PRECONDITION MODEL_NOT_READY");  // no job has run
}

TEST_F(AdmissionFetchesTest, AFetchThatIsCancelledLeavesTheQueue) {
  Serve(Options(1, 2));
  const auto holder = Hold();
  const auto cancelled = Begin();
  AwaitWaiting(1);
  const auto last = Begin("small");
  AwaitWaiting(2);
  cancelled->context.TryCancel();
  EXPECT_EQ(ReadToEnd(*cancelled), "CANCELLED");
  AwaitWaiting(1);
  EXPECT_EQ(ReadToEnd(*holder), "OK");
  EXPECT_EQ(ReadToEnd(*last), "OK");
}

TEST_F(AdmissionFetchesTest, AFetchWhoseDeadlinePassesLeavesTheQueue) {
  Serve(Options(1, 2));
  const auto holder = Hold();
  Stream late;
  late.context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Milliseconds(50)));
  v1::FetchFileRequest request;
  request.set_model("small");
  request.set_path(kFile);
  late.reader = server_->fetch->FetchFile(&late.context, request);
  EXPECT_EQ(ReadToEnd(late), "DEADLINE_EXCEEDED");
  AwaitWaiting(0);
  EXPECT_EQ(ReadToEnd(*holder), "OK");
}

TEST_F(AdmissionFetchesTest, WhatDoesNotFitIsRefused) {
  Serve(Options(1, 1));
  const auto holder = Hold();
  const auto waiting = Begin("small");
  AwaitWaiting(1);
  EXPECT_EQ(ReadToEnd(*Begin("small")), kRefused);
  EXPECT_EQ(ReadToEnd(*holder), "OK");
  EXPECT_EQ(ReadToEnd(*waiting), "OK");
}

// Requests stay in memory while they wait.
TEST_F(AdmissionFetchesTest, RequestsThatWaitHaveABoundedSize) {
  Serve(Options(1, 100));
  const auto holder = Hold();
  // One that would take the room of many is refused though nobody waits.
  EXPECT_EQ(ReadToEnd(*Begin(std::string(limits::kMaxMessageBytes / 2, 'x'))), kRefused);
  // A little more than the name is held, so that one fewer fits.
  constexpr uint64_t kNameBytes =
      admission_limits::kMaxWaitingFetchBytes / admission_limits::kWaitingByteShares / 2;
  constexpr int kFitting = admission_limits::kMaxWaitingFetchBytes / kNameBytes - 1;
  const std::string name(kNameBytes, 'x');
  std::vector<std::unique_ptr<Stream>> waiting;
  for (int i = 1; i <= kFitting; ++i) {
    waiting.push_back(Begin(name));
    AwaitWaiting(i);
  }
  EXPECT_EQ(ReadToEnd(*Begin(name)), kRefused);
  const auto small = Begin("small");
  AwaitWaiting(kFitting + 1);
  EXPECT_EQ(ReadToEnd(*holder), "OK");
  EXPECT_EQ(ReadToEnd(*small), "OK");
  for (const auto& stream : waiting) EXPECT_NE(ReadToEnd(*stream), "OK");
}

TEST_F(AdmissionFetchesTest, AFetchThatWaitsTooLongIsRefused) {
  RpcOptions options = Options(1, 1);
  options.max_admission_wait = absl::Milliseconds(50);
  Serve(options);
  const auto holder = Hold();
  EXPECT_EQ(ReadToEnd(*Begin("small")), kRefused);
  EXPECT_EQ(ReadToEnd(*holder), "OK");
}

TEST_F(AdmissionFetchesTest, ADrainEndsTheWait) {
  Serve(Options(1, 2));
  const auto holder = Hold();
  const auto waiting = Begin("small");
  AwaitWaiting(1);
  server_->environment().StartDraining();
  EXPECT_EQ(ReadToEnd(*waiting), "UNAVAILABLE STOPPING");
  EXPECT_EQ(ReadToEnd(*Begin("small")), "UNAVAILABLE STOPPING");
  EXPECT_EQ(ReadToEnd(*holder), "OK");
}

TEST_F(AdmissionFetchesTest, ADrainEndsTheWaitOfDownloads) {
  RpcOptions options = Options(2, 2);
  options.max_downloads = 1;
  Serve(options);
  AdmissionQueue& downloads = server_->environment().downloads();
  const auto holder = downloads.TryEnter();
  ASSERT_TRUE(holder.has_value());
  absl::Status outcome;
  std::thread waiter([&] { outcome = downloads.Await(absl::Minutes(1)).status(); });
  while (downloads.waiting() == 0) std::this_thread::yield();
  server_->environment().StartDraining();
  waiter.join();
  EXPECT_EQ(outcome.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ErrorReason(outcome), "STOPPING");
}

// As when a fleet of servers boots at once. None is refused, none is sent something else.
TEST_F(AdmissionFetchesTest, ManyFetchesOfWhichSomeAreCancelled) {
  constexpr int kThreads = 24;
  constexpr int kFetches = 10;  // of each, one after the other
  const uint32_t seed = TestSeed();
  SCOPED_TRACE(SeedTrace(seed));
  // The server hears of what is cancelled later than its client, which goes on.
  Serve(Options(2, kThreads * kFetches));
  const uint64_t size_bytes = SmallCheckpoint(1).at(kFile).size();
  std::atomic<int> complete = 0, cancelled = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(seed * 100 + t);
      for (int i = 0; i < kFetches; ++i) {
        const auto stream = Begin("small");
        std::thread canceller;
        if (random() % 2 == 0) {
          canceller = std::thread([&stream, turns = random() % 3 == 0 ? 0 : random() % 40] {
            for (uint32_t turn = 0; turn < turns; ++turn) std::this_thread::yield();
            stream->context.TryCancel();
          });
        }
        v1::FetchFileResponse message;
        uint64_t received_bytes = 0;
        while (stream->reader->Read(&message)) received_bytes += message.piece().data().size();
        const std::string status = CodeAndReason(stream->reader->Finish());
        if (canceller.joinable()) canceller.join();
        if (status == "OK") {
          EXPECT_EQ(received_bytes, size_bytes);
          ++complete;
        } else {
          EXPECT_EQ(status, "CANCELLED");
          ++cancelled;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(server_->environment().active_calls().AwaitNone(absl::Seconds(60)));
  EXPECT_EQ(queue().waiting(), 0);
  EXPECT_EQ(queue().taken(), 0);
  EXPECT_EQ(complete + cancelled, kThreads * kFetches);
  EXPECT_GT(complete, 0);
  EXPECT_GT(cancelled, 0);
  std::printf("%d fetches complete, %d cancelled\n", complete.load(), cancelled.load());
}

}  // namespace
}  // namespace wdelta::testing
