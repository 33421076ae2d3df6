#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/http/hub_models.h"
#include "storage/base/limits.h"
#include "tests/http/http_fixture.h"

namespace wdelta::testing {
namespace {

// Weights of several chunks and pieces, beside a small and an empty file.
TestFiles ManyPieces() {
  return {{"model.safetensors",
           BuildSafetensors({RandomWeights("w", {1024, 2100}, 7), RandomWeights("v", {333}, 8)})},
          {"sub/config.json", "{}\n"},
          {"empty", ""}};
}

class HubResolveTest : public HttpTest {
 protected:
  HubResolveTest() : files_(ManyPieces()), model_(Push("ns/m", files_)) {}

  static std::string TargetOf(const std::string& path) { return "/ns/m/resolve/main/" + path; }
  static std::string EtagOf(const std::string& data) {
    return absl::StrCat("\"", Digest::Of(data).ToHex(), "\"");
  }
  const std::string& weights() const { return files_.at("model.safetensors"); }

  const TestFiles files_;
  const Model model_;
};

TEST_F(HubResolveTest, EveryFileComesBackWithItsDigest) {
  for (const auto& [path, data] : files_) {
    for (const std::string& revision : {std::string("main"), CommitOf(model_.record)}) {
      const httplib::Result result = Get("/ns/m/resolve/" + revision + "/" + path);
      ASSERT_EQ(StatusAndCode(result), "200") << path;
      EXPECT_TRUE(result->body == data) << path;
      EXPECT_EQ(result->get_header_value("ETag"), EtagOf(data));
      EXPECT_EQ(result->get_header_value("Content-Length"), absl::StrCat(data.size()));
      EXPECT_EQ(result->get_header_value("X-Repo-Commit"), CommitOf(model_.record));
      EXPECT_EQ(result->get_header_value("Accept-Ranges"), "bytes");
      EXPECT_FALSE(result->has_header("Content-Encoding"));
    }
  }
}

TEST_F(HubResolveTest, HeadTellsTheSameWithoutBytes) {
  for (const auto& [path, data] : files_) {
    // A range is for GET.
    const httplib::Result result = Head(TargetOf(path), {{"Range", "bytes=0-0"}});
    ASSERT_EQ(StatusAndCode(result), "200") << path;
    EXPECT_EQ(result->body, "");
    EXPECT_EQ(result->get_header_value_count("Content-Length"), 1U);
    EXPECT_EQ(result->get_header_value("Content-Length"), absl::StrCat(data.size()));
    EXPECT_EQ(result->get_header_value("X-Linked-Size"), absl::StrCat(data.size()));
    EXPECT_EQ(result->get_header_value("X-Linked-Etag"), result->get_header_value("ETag"));
    EXPECT_EQ(result->get_header_value("ETag"), EtagOf(data));
  }
}

TEST_F(HubResolveTest, StagedModelsAreServedToo) {
  const TestFiles files = SmallCheckpoint(5);
  Stage("staged", files);
  EXPECT_TRUE(Get("/staged/resolve/main/model.safetensors")->body == files.at("model.safetensors"));
}

TEST_F(HubResolveTest, RandomRangesAreParts) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const uint64_t size = weights().size();
  for (int i = 0; i < 40; ++i) {
    const uint64_t first = random() % size;
    // Within a chunk, over some, or to the end.
    const uint64_t length = 1 + random() % (i % 3 == 0 ? 100 : size);
    const uint64_t last = std::min(size - 1, first + length - 1);
    const httplib::Result result =
        Get(TargetOf("model.safetensors"), {{"Range", absl::StrCat("bytes=", first, "-", last)}});
    ASSERT_EQ(StatusAndCode(result), "206");
    EXPECT_TRUE(result->body == weights().substr(first, last - first + 1)) << first << "-" << last;
    EXPECT_EQ(result->get_header_value("Content-Range"),
              absl::StrCat("bytes ", first, "-", last, "/", size));
    EXPECT_EQ(result->get_header_value("Content-Length"), absl::StrCat(last - first + 1));
  }
}

TEST_F(HubResolveTest, RangesAtTheEdges) {
  const std::string target = TargetOf("model.safetensors");
  const uint64_t size = weights().size();
  const httplib::Result rest = Get(target, {{"Range", absl::StrCat("bytes=", size - 5, "-")}});
  EXPECT_EQ(rest->status, 206);
  EXPECT_TRUE(rest->body == weights().substr(size - 5));
  EXPECT_TRUE(Get(target, {{"Range", "bytes=-7"}})->body == weights().substr(size - 7));
  EXPECT_TRUE(Get(target, {{"Range", "bytes=0-100000"}})->body == weights().substr(0, 100'001));
  const httplib::Result behind = Get(target, {{"Range", absl::StrCat("bytes=", size, "-")}});
  EXPECT_EQ(behind->status, 416);
  EXPECT_EQ(behind->get_header_value("Content-Range"), absl::StrCat("bytes */", size));
  EXPECT_EQ(Get(TargetOf("empty"), {{"Range", "bytes=0-"}})->status, 416);
  for (const char* const odd : {"bytes=0-1,5-6", "bytes=9-2", "pages=1-2", "bytes=x"}) {
    const httplib::Result all = Get(target, {{"Range", odd}});
    EXPECT_EQ(all->status, 200) << odd;
    EXPECT_TRUE(all->body == weights()) << odd;
  }
}

TEST_F(HubResolveTest, Conditions) {
  const std::string target = TargetOf("model.safetensors");
  const std::string etag = Head(target)->get_header_value("ETag");
  EXPECT_EQ(Get(target, {{"If-None-Match", "\"x\", W/" + etag}})->status, 304);
  EXPECT_EQ(Get(target, {{"If-None-Match", "*"}})->status, 304);
  EXPECT_EQ(Get(target, {{"If-None-Match", "\"x\""}})->status, 200);
  EXPECT_EQ(Get(target, {{"If-Range", etag}, {"Range", "bytes=0-3"}})->status, 206);
  EXPECT_EQ(Get(target, {{"If-Range", "\"x\""}, {"Range", "bytes=0-3"}})->status, 200);
}

TEST_F(HubResolveTest, MissingThingsAreToldApart) {
  EXPECT_EQ(StatusAndCode(Head("/none/resolve/main/a")), "404 RepoNotFound");
  EXPECT_EQ(StatusAndCode(Head("/ns/m/resolve/none/a")), "404 RevisionNotFound");
  const httplib::Result file = Head(TargetOf("none"));
  EXPECT_EQ(StatusAndCode(file), "404 EntryNotFound");
  EXPECT_EQ(file->get_header_value("X-Repo-Commit"), CommitOf(model_.record));
  EXPECT_NE(file->get_header_value("X-Error-Message"), "");
  for (const char* const path :
       {"", "sub", "sub/", "../m/config.json", "sub/../empty", "/empty", "%2e%2e/%2e%2e/etc/passwd",
        "sub%5cconfig.json", "empty%20", "EMPTY"}) {
    EXPECT_EQ(StatusAndCode(Get(TargetOf(path))), "404 EntryNotFound") << path;
  }
  EXPECT_EQ(StatusAndCode(Get(TargetOf("sub%2Fconfig.json"))), "200");
}

TEST_F(HubResolveTest, FetchesBeyondTheLimitAreAskedToComeAgain) {
  std::vector<AdmissionQueue::Slot> taken;
  while (auto slot = fetches().TryEnter()) taken.push_back(*std::move(slot));
  const httplib::Result refused = Get(TargetOf("model.safetensors"));
  EXPECT_EQ(StatusAndCode(refused), "503 TOO_MANY_FETCHES");
  EXPECT_EQ(refused->get_header_value("Retry-After"), "1");
  EXPECT_EQ(Head(TargetOf("model.safetensors"))->status, 200);
  taken.clear();
  EXPECT_EQ(Get(TargetOf("model.safetensors"))->status, 200);
}

TEST_F(HubResolveTest, ConnectionsBeyondTheThreadsTakeTurns) {
  StartServer(1);  // more would be refused: so few leave no thread to downloads that wait
  std::vector<std::thread> clients;
  for (int i = 0; i < kMaxFetches; ++i) {
    clients.emplace_back([this] {
      const auto client = NewClient();
      client->set_keep_alive(false);
      for (int n = 0; n < 3; ++n) {
        const httplib::Result result = client->Get(TargetOf("model.safetensors"));
        EXPECT_EQ(StatusAndCode(result), "200");
        EXPECT_TRUE(result && result->body == weights());
      }
    });
  }
  for (std::thread& client : clients) client.join();
}

TEST_F(HubResolveTest, AClientThatLeavesGivesItsFetchBack) {
  for (int i = 0; i < 3 * kMaxFetches; ++i) {
    const RawConnection connection(port());
    connection.Send("GET " + TargetOf("model.safetensors") + " HTTP/1.1\r\nHost: h\r\n\r\n");
    // Not always 200: the one before may not have been missed yet.
    EXPECT_EQ(connection.Receive(9), "HTTP/1.1 ");
  }
  server().Drain(absl::Seconds(60));
  std::vector<AdmissionQueue::Slot> all;
  while (auto slot = fetches().TryEnter()) all.push_back(*std::move(slot));
  EXPECT_EQ(all.size(), static_cast<size_t>(kMaxFetches));
}

TEST_F(HubResolveTest, ADrainLetsRunningDownloadsEnd) {
  const RawConnection running(port());
  running.Send("GET " + TargetOf("model.safetensors") + " HTTP/1.1\r\nHost: h\r\n\r\n");
  std::string received = running.Receive(1);
  const RawConnection idle(port());
  std::thread drain([this] { server().Drain(absl::Seconds(60)); });
  received += running.Receive();
  drain.join();
  EXPECT_TRUE(received.ends_with(weights()));
  EXPECT_EQ(idle.Receive(), "");
  EXPECT_FALSE(NewClient()->Get("/healthz"));
}

TEST_F(HubResolveTest, ADrainCutsWhatDoesNotEnd) {
  const TestFiles large = {
      {"model.safetensors", BuildSafetensors({RandomWeights("w", {2048, 4096}, 1)})}};
  Stage("large", large);
  const RawConnection stuck(port());
  stuck.Send("GET /large/resolve/main/model.safetensors HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(stuck.Receive(1), "H");
  server().Drain(absl::ZeroDuration());
  EXPECT_LT(stuck.Receive().size(), large.at("model.safetensors").size());
}

}  // namespace
}  // namespace wdelta::testing
