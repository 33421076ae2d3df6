// Streams of pieces beyond those that may go on at once wait their turn.
#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/server/test_server.h"
#include "tests/support/test_seed.h"

namespace wdelta::testing {
namespace {

constexpr char kRefused[] = "RESOURCE_EXHAUSTED TOO_MANY_STREAMS";

RpcOptions Options(int max_streams, int max_waiting) {
  RpcOptions options;
  options.max_write_streams = max_streams;
  options.max_waiting_write_streams = max_waiting;
  return options;
}

// A stream that has sent all of its checkpoint, and not yet said so.
struct Stream {
  grpc::ClientContext context;
  v1::WriteEntriesResponse response;
  std::string upload;
  std::unique_ptr<grpc::ClientWriter<v1::WriteEntriesRequest>> writer;
};

class AdmissionUploadsTest : public ::testing::Test {
 protected:
  // Over a socket, which takes what a client sends ahead, as that of a real client does.
  void Serve(const RpcOptions& options) {
    server_ = std::make_unique<TestServer>(options);
    server_->UseSocket();
  }
  AdmissionQueue& queue() { return server_->environment().write_streams(); }

  std::unique_ptr<Stream> NewStream(absl::Duration timeout = absl::InfiniteDuration()) {
    auto stream = std::make_unique<Stream>();
    v1::StartUploadRequest request;
    request.set_name(absl::StrCat("m", ++made_));
    stream->upload = server_->Open(request, files_);
    if (timeout != absl::InfiniteDuration()) {
      stream->context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
    }
    stream->writer = server_->uploads->WriteEntries(&stream->context, &stream->response);
    for (const auto& piece : TestServer::PiecesOf(stream->upload, files_)) {
      stream->writer->Write(piece);
    }
    return stream;
  }
  // Until so many wait, for each of whom there was no place.
  void AwaitWaiting(int count) {
    while (queue().waiting() != count) std::this_thread::yield();
  }
  void AwaitTaken(int count) {
    while (queue().taken() != count) std::this_thread::yield();
  }
  static std::string End(Stream& stream) {
    stream.writer->WritesDone();
    return CodeAndReason(stream.writer->Finish());
  }
  // All that was sent is there.
  void ExpectComplete(const Stream& stream) {
    v1::FinishUploadResponse response;
    EXPECT_EQ(CodeAndReason(server_->Finish(stream.upload, &response)), "OK");
    EXPECT_EQ(response.model().state(), v1::Model::STAGED);
  }

  // Few enough bytes for one who waits to send them all.
  const TestFiles files_ = {
      {"model.safetensors", BuildSafetensors({RandomWeights("w", {16, 64}, 1)})},
      {"config.json", "{}"}};
  int made_ = 0;
  std::unique_ptr<TestServer> server_;
};

TEST_F(AdmissionUploadsTest, StreamsComeToTheirTurnsInOrder) {
  constexpr int kWaiting = 5;
  RpcOptions options = Options(1, kWaiting);
  // One that is overtaken is refused in the end.
  options.max_admission_wait = absl::Seconds(30);
  Serve(options);
  std::vector<std::unique_ptr<Stream>> streams;
  streams.push_back(NewStream());
  AwaitTaken(1);
  for (int i = 1; i <= kWaiting; ++i) {
    streams.push_back(NewStream());
    AwaitWaiting(i);
  }
  // Each ends only when all before it have, which hold the place until they are told to end.
  for (int i = 0; i <= kWaiting; ++i) {
    EXPECT_EQ(queue().waiting(), kWaiting - i);
    EXPECT_EQ(End(*streams[i]), "OK") << i;
    ExpectComplete(*streams[i]);
  }
  EXPECT_EQ(queue().taken(), 0);
}

TEST_F(AdmissionUploadsTest, AStreamThatIsCancelledLeavesTheQueue) {
  Serve(Options(1, 2));
  const auto first = NewStream();
  AwaitTaken(1);
  const auto cancelled = NewStream();
  AwaitWaiting(1);
  const auto last = NewStream();
  AwaitWaiting(2);
  cancelled->context.TryCancel();
  EXPECT_EQ(cancelled->writer->Finish().error_code(), grpc::StatusCode::CANCELLED);
  AwaitWaiting(1);
  EXPECT_EQ(End(*first), "OK");
  EXPECT_EQ(End(*last), "OK");
  ExpectComplete(*last);
}

TEST_F(AdmissionUploadsTest, AStreamWhoseDeadlinePassesLeavesTheQueue) {
  Serve(Options(1, 2));
  const auto first = NewStream();
  AwaitTaken(1);
  const auto late = NewStream(absl::Milliseconds(50));
  EXPECT_EQ(End(*late), "DEADLINE_EXCEEDED");
  AwaitWaiting(0);
  EXPECT_EQ(End(*first), "OK");
  // What it never sent can be sent still.
  EXPECT_EQ(CodeAndReason(server_->Write(TestServer::PiecesOf(late->upload, files_))), "OK");
  ExpectComplete(*late);
}

TEST_F(AdmissionUploadsTest, WhatDoesNotFitIsRefused) {
  Serve(Options(1, 1));
  const auto first = NewStream();
  AwaitTaken(1);
  const auto waiting = NewStream();
  AwaitWaiting(1);
  const auto refused = NewStream();
  EXPECT_EQ(End(*refused), kRefused);
  EXPECT_EQ(End(*first), "OK");
  EXPECT_EQ(End(*waiting), "OK");
}

TEST_F(AdmissionUploadsTest, AStreamThatWaitsTooLongIsRefused) {
  RpcOptions options = Options(1, 1);
  options.max_admission_wait = absl::Milliseconds(50);
  Serve(options);
  const auto first = NewStream();
  AwaitTaken(1);
  const auto refused = NewStream();
  EXPECT_EQ(End(*refused), kRefused);
  EXPECT_EQ(End(*first), "OK");
}

TEST_F(AdmissionUploadsTest, ADrainEndsTheWait) {
  Serve(Options(1, 3));
  const auto first = NewStream();
  AwaitTaken(1);
  const auto waiting = NewStream();
  AwaitWaiting(1);
  server_->environment().StartDraining();
  EXPECT_EQ(End(*waiting), "UNAVAILABLE STOPPING");
  EXPECT_EQ(queue().waiting(), 0);
  // Those that run may come to their end.
  EXPECT_EQ(End(*first), "OK");
  EXPECT_GT(first->response.durable_bytes(), 0u);
}

// Whatever ends a wait may come at the same time as anything else that does.
TEST_F(AdmissionUploadsTest, ManyStreamsOfWhichSomeAreCancelled) {
  constexpr int kThreads = 12;
  constexpr int kStreams = 15;  // of each, one after the other
  const uint32_t seed = TestSeed();
  SCOPED_TRACE(SeedTrace(seed));
  // The server hears of what is cancelled later than its client, which goes on.
  Serve(Options(2, kThreads * kStreams));
  std::atomic<int> complete = 0, cancelled = 0;
  std::vector<std::vector<std::string>> ids(kThreads);
  for (auto& ids_of_thread : ids) {
    for (int i = 0; i < kStreams; ++i) {
      v1::StartUploadRequest request;
      request.set_name(absl::StrCat("m", ++made_));
      ids_of_thread.push_back(server_->Open(request, files_));
    }
  }
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(seed * 100 + t);
      for (const std::string& id : ids[t]) {
        grpc::ClientContext context;
        v1::WriteEntriesResponse response;
        const auto writer = server_->uploads->WriteEntries(&context, &response);
        std::thread canceller;
        if (random() % 2 == 0) {
          canceller = std::thread([&context, turns = random() % 3 == 0 ? 0 : random() % 40] {
            for (uint32_t i = 0; i < turns; ++i) std::this_thread::yield();
            context.TryCancel();
          });
        }
        for (const auto& piece : TestServer::PiecesOf(id, files_)) {
          if (!writer->Write(piece)) break;
        }
        writer->WritesDone();
        const grpc::Status status = writer->Finish();
        if (canceller.joinable()) canceller.join();
        if (status.ok()) {
          ++complete;
        } else {
          EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED) << status.error_message();
          ++cancelled;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(server_->environment().active_calls().AwaitNone(absl::Seconds(60)));
  EXPECT_EQ(queue().waiting(), 0);
  EXPECT_EQ(queue().taken(), 0);
  EXPECT_EQ(complete + cancelled, kThreads * kStreams);
  EXPECT_GT(complete, 0);
  EXPECT_GT(cancelled, 0);
  std::printf("%d streams complete, %d cancelled\n", complete.load(), cancelled.load());
}

}  // namespace
}  // namespace wdelta::testing
