// Peers that say little or nothing take no thread, no fetch and no time of others for long.
#include <atomic>
#include <cstdio>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "server/http/http_limits.h"
#include "storage/base/error.h"
#include "tests/http/http_fixture.h"

namespace wdelta::testing {
namespace {

constexpr int kSilentPeers = 200;
// Well below what a request would take that waits for silent peers to be given up, and long
// enough for a busy machine.
constexpr absl::Duration kMaxDelay = absl::Milliseconds(http_limits::kIdleTimeoutMs * 2 / 5);

class SlowPeersTest : public HttpTest {
 protected:
  using Connections = std::vector<std::unique_ptr<RawConnection>>;

  // Connections that have sent these bytes, which the server has read.
  Connections Open(const std::string& bytes) {
    Connections open;
    for (int i = 0; i < kSilentPeers; ++i) {
      open.push_back(std::make_unique<RawConnection>(port()));
      EXPECT_TRUE(open.back()->Send(bytes));
    }
    return open;
  }
  absl::Duration TimeOfARequest() {
    const absl::Time begin = absl::Now();
    EXPECT_EQ(StatusAndCode(NewClient()->Get("/healthz")), "200");
    return absl::Now() - begin;
  }
  // A GET of something large, whose answer is not read.
  std::unique_ptr<RawConnection> OpenStuck() {
    auto stuck = std::make_unique<RawConnection>(port());
    EXPECT_TRUE(stuck->Send("GET /large/resolve/main/model.safetensors HTTP/1.1\r\n\r\n"));
    EXPECT_EQ(stuck->Receive(15), "HTTP/1.1 200 OK");
    return stuck;
  }
  void StageLarge() {
    Stage("large",
          {{"model.safetensors", BuildSafetensors({RandomWeights("w", {4096, 4096}, 1)})}});
  }
};

TEST_F(SlowPeersTest, NewConnectionsWithoutARequest) {
  const Connections silent = Open("");
  EXPECT_LT(TimeOfARequest(), kMaxDelay);
}

TEST_F(SlowPeersTest, ConnectionsKeptAfterARequest) {
  const Connections kept = Open("GET /healthz HTTP/1.1\r\n\r\n");
  for (const auto& connection : kept) EXPECT_EQ(connection->Receive(15), "HTTP/1.1 200 OK");
  EXPECT_LT(TimeOfARequest(), kMaxDelay);
}

TEST_F(SlowPeersTest, HeadsThatDoNotEnd) {
  const Connections begun = Open("GET /healthz HTTP/1.1\r\nHost: ");
  EXPECT_LT(TimeOfARequest(), kMaxDelay);
  // Each can go on.
  EXPECT_TRUE(begun[0]->Send("h\r\n\r\n"));
  EXPECT_EQ(begun[0]->Receive(15), "HTTP/1.1 200 OK");
}

TEST_F(SlowPeersTest, DownloadsLeaveHalfOfTheFetchesToOthers) {
  StartServer(4);  // so few that none of them waits
  StageLarge();
  std::vector<std::unique_ptr<RawConnection>> stuck;
  for (int i = 0; i < kMaxFetches / 2; ++i) stuck.push_back(OpenStuck());
  EXPECT_EQ(StatusAndCode(Get("/large/resolve/main/model.safetensors")), "503 TOO_MANY_FETCHES");
  std::vector<AdmissionQueue::Slot> others;
  while (auto slot = fetches().TryEnter()) others.push_back(*std::move(slot));
  EXPECT_EQ(others.size(), static_cast<size_t>(kMaxFetches - kMaxFetches / 2));
}

TEST_F(SlowPeersTest, DownloadsBeyondTheirHalfTakeTurns) {
  StartServer(32);
  StageLarge();
  std::vector<std::thread> clients;
  for (int i = 0; i < 6; ++i) {  // of which two go on, and four may wait
    clients.emplace_back([this] {
      EXPECT_EQ(StatusAndCode(NewClient()->Get("/large/resolve/main/model.safetensors")), "200");
    });
  }
  for (std::thread& client : clients) client.join();
}

TEST_F(SlowPeersTest, DownloadsThatWaitLeaveThreadsToOthers) {
  StartServer(16);  // an eighth of which may be waited in
  StageLarge();
  std::vector<std::unique_ptr<RawConnection>> stuck;
  for (int i = 0; i < kMaxFetches / 2; ++i) stuck.push_back(OpenStuck());
  std::vector<std::unique_ptr<RawConnection>> waiting;
  for (int i = 0; i < 2; ++i) {
    waiting.push_back(std::make_unique<RawConnection>(port()));
    EXPECT_TRUE(waiting.back()->Send("GET /large/resolve/main/model.safetensors HTTP/1.1\r\n\r\n"));
  }
  while (downloads().waiting() < 2) std::this_thread::yield();
  EXPECT_EQ(StatusAndCode(Get("/large/resolve/main/model.safetensors")), "503 TOO_MANY_FETCHES");
  EXPECT_EQ(downloads().waiting(), 2);  // refused without a wait
  EXPECT_EQ(Head("/large/resolve/main/model.safetensors")->status, 200);
  stuck.clear();
  for (const auto& connection : waiting) EXPECT_EQ(connection->Receive(15), "HTTP/1.1 200 OK");
}

// Both waits are of the same threads.
TEST_F(SlowPeersTest, DownloadsThatWaitForFetchesLeaveThreadsToOthers) {
  AdmissionQueue queue({.limit = 4, .max_waiting = 100, .reason = "TOO_MANY_FETCHES"});
  SetFetches(&queue);
  StartServer(8);
  StageLarge();
  std::vector<AdmissionQueue::Slot> taken;
  while (auto slot = queue.TryEnter()) taken.push_back(*std::move(slot));
  {
    const RawConnection waiting(port());
    EXPECT_TRUE(waiting.Send("GET /large/resolve/main/model.safetensors HTTP/1.1\r\n\r\n"));
    while (queue.waiting() == 0) std::this_thread::yield();
    EXPECT_EQ(StatusAndCode(Get("/large/resolve/main/model.safetensors")), "503 TOO_MANY_FETCHES");
    EXPECT_EQ(queue.waiting(), 1);
    taken.clear();
    EXPECT_EQ(waiting.Receive(15), "HTTP/1.1 200 OK");
  }
  StopServer();
}

// Those of gRPC, which wait for longer and may be many.
TEST_F(SlowPeersTest, ADownloadHasItsTurnBeforeAllFetchesThatWait) {
  AdmissionQueue queue({.limit = 1, .max_waiting = 100, .reason = "TOO_MANY_FETCHES"});
  SetFetches(&queue);
  StartServer(8);
  StageLarge();
  std::optional<AdmissionQueue::Slot> first = queue.TryEnter();
  std::vector<AdmissionQueue::Slot> others;  // none of which ends
  const auto keep = [&others](absl::StatusOr<AdmissionQueue::Slot> slot) {
    if (slot.ok()) others.push_back(*std::move(slot));
  };
  for (int i = 0; i < 100; ++i) queue.Enter(0, keep);
  std::thread client([this] {
    EXPECT_EQ(StatusAndCode(NewClient()->Get("/large/resolve/main/model.safetensors")), "200");
  });
  while (queue.waiting() < 101) std::this_thread::yield();
  first.reset();
  client.join();
  StopServer();
  EXPECT_EQ(others.size(), 1U);  // by the end of the download
  queue.Close(absl::UnavailableError("stopping"));
}

TEST_F(SlowPeersTest, ADrainEndsTheWaitOfDownloads) {
  StartServer(8);
  StageLarge();
  std::vector<std::unique_ptr<RawConnection>> stuck;
  for (int i = 0; i < kMaxFetches / 2; ++i) stuck.push_back(OpenStuck());
  std::thread client([this] {
    EXPECT_EQ(StatusAndCode(NewClient()->Get("/large/resolve/main/model.safetensors")),
              "503 STOPPING");
  });
  while (downloads().waiting() == 0) std::this_thread::yield();
  downloads().Close(MakeError(absl::StatusCode::kUnavailable, "STOPPING", "stopping"));
  client.join();
}

TEST_F(SlowPeersTest, UploadsLeaveThreadsToOthers) {
  StartServer(4);
  const std::string put =
      absl::StrCat("PUT /m.git/info/lfs/objects/", Digest::Of("abc").ToHex(),
                   "?size=3 HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  std::vector<std::unique_ptr<RawConnection>> running;
  for (int i = 0; i < 3; ++i) {
    running.push_back(std::make_unique<RawConnection>(port()));
    EXPECT_TRUE(running.back()->Send(put));
    EXPECT_EQ(running.back()->Receive(25), "HTTP/1.1 100 Continue\r\n\r\n");
  }
  while (IncomingFiles() < running.size()) std::this_thread::yield();
  EXPECT_EQ(StatusAndCode(Get("/healthz")), "200");
  const httplib::Result refused = NewClient()->Put(
      absl::StrCat("/m.git/info/lfs/objects/", Digest::Of("abc").ToHex(), "?size=3"), "abc", "a/b");
  EXPECT_EQ(StatusAndCode(refused), "503 TOO_MANY_UPLOADS");
  EXPECT_EQ(refused->get_header_value("Retry-After"), "1");
  for (const auto& connection : running) {
    EXPECT_TRUE(connection->Send("abc"));
    EXPECT_EQ(connection->Receive(15), "HTTP/1.1 200 OK");
  }
}

TEST_F(SlowPeersTest, APeerThatDoesNotReadIsCut) {
  StageLarge();
  StartServer(8, {absl::Milliseconds(100), 1});
  const auto first = OpenStuck();
  const auto second = OpenStuck();
  const absl::Time end = absl::Now() + absl::Seconds(30);
  std::string status;
  while (status != "206" && absl::Now() < end) {
    status = StatusAndCode(Get("/large/resolve/main/model.safetensors", {{"Range", "bytes=0-"}}));
  }
  EXPECT_EQ(status, "206");
}

TEST_F(SlowPeersTest, APeerThatSendsTooLittleIsCut) {
  StartServer(8, {absl::Milliseconds(100), 1000});
  const RawConnection slow(port());
  EXPECT_TRUE(slow.Send(absl::StrCat("PUT /m.git/info/lfs/objects/", std::string(64, '1'),
                                     "?size=100 HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc")));
  const std::string answer = slow.Receive();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << answer;
  EXPECT_EQ(IncomingFiles(), 0U);
}

// As many as there are threads, each a byte at a time: whatever they do, others are served.
TEST_F(SlowPeersTest, PeersThatTrickleLeaveTheServerToOthers) {
  constexpr int kThreads = 64;
  StageLarge();
  StartServer(kThreads);
  std::vector<std::unique_ptr<RawConnection>> trickling;
  for (int i = 0; i < kMaxFetches / 2; ++i) trickling.push_back(OpenStuck());
  while (trickling.size() < kThreads) {
    trickling.push_back(std::make_unique<RawConnection>(port()));
    // Heads that come slowly, and bodies.
    const bool is_body = trickling.size() % 2 == 0;
    EXPECT_TRUE(trickling.back()->Send(
        is_body ? absl::StrCat("PUT /m.git/info/lfs/objects/", std::string(64, '1'),
                               "?size=1000 HTTP/1.1\r\nContent-Length: 1000\r\n\r\na")
                : "GET /healthz HTTP/1.1\r\nX: "));
  }
  std::atomic<bool> is_over = false;
  std::thread sender([&] {
    while (!is_over) {
      for (size_t i = kMaxFetches / 2; i < trickling.size(); ++i) (void)trickling[i]->Send("a");
    }
  });
  absl::Duration longest;
  for (int i = 0; i < 5; ++i) longest = std::max(longest, TimeOfARequest());
  is_over = true;
  sender.join();
  std::printf("%d peers that trickle: a request took %s at most\n", kThreads,
              absl::FormatDuration(longest).c_str());
  EXPECT_LT(longest, kMaxDelay);
}

// A closed socket ends the work for it: it is found at the next piece that is sent.
TEST_F(SlowPeersTest, AClosedConnectionEndsItsDownload) {
  std::atomic<int>& reads = blobs().reads;
  Push("large", {{"model.safetensors", BuildSafetensors({RandomWeights("w", {4096, 8192}, 1)})}});
  reads = 0;
  EXPECT_EQ(StatusAndCode(Get("/large/resolve/main/model.safetensors")), "200");
  const int reads_of_all = reads;
  std::vector<AdmissionQueue::Slot> all;
  while (all.size() < kMaxFetches) {
    if (auto slot = fetches().TryEnter()) all.push_back(*std::move(slot));
  }
  all.clear();
  reads = 0;
  OpenStuck().reset();
  const absl::Time closed = absl::Now();
  while (all.size() < kMaxFetches) {
    if (auto slot = fetches().TryEnter()) all.push_back(*std::move(slot));
  }
  const absl::Duration time = absl::Now() - closed;
  std::printf("a closed download: over after %s, %d of %d reads\n",
              absl::FormatDuration(time).c_str(), reads.load(), reads_of_all);
  EXPECT_LT(time, absl::Seconds(2));
  EXPECT_LT(reads, reads_of_all);
}

}  // namespace
}  // namespace wdelta::testing
