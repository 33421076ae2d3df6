// The operations port of the real daemon.
#include <signal.h>

#include <fstream>
#include <memory>
#include <string>

#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "httplib.h"
#include "server/operations/metric_table.h"
#include "storage/base/limits.h"
#include "tests/e2e/daemon.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/metric_text.h"
#include "tests/support/temp_folder.h"
#include "wdelta/v1/fetch.grpc.pb.h"

namespace wdelta::testing {
namespace {

using ::testing::HasSubstr;

// More than gRPC's windows hold between a server and a client that does not read.
constexpr uint64_t kBigBytes = 32 * limits::kMiB;

class OperationsTest : public ::testing::Test {
 protected:
  std::string DataDir() const { return folder_ / "data"; }

  std::unique_ptr<Daemon> Start(std::vector<std::string> flags = {}) {
    flags.push_back("--operations_listen=127.0.0.1:0");
    flags.push_back("--http_listen=127.0.0.1:0");
    auto daemon = std::make_unique<Daemon>(DataDir(), flags);
    std::ifstream addresses(DataDir() + ".address");
    for (std::string line; std::getline(addresses, line);) {
      absl::string_view url = line;
      if (absl::ConsumePrefix(&url, "operations ")) {
        operations_ = std::make_unique<httplib::Client>(std::string(url));
        operations_address_ = std::string(absl::StripPrefix(url, "http://"));
      } else if (absl::ConsumePrefix(&url, "http://")) {
        hub_ = std::make_unique<httplib::Client>(line);
        hub_->set_keep_alive(true);
      }
    }
    EXPECT_TRUE(operations_ != nullptr && hub_ != nullptr);
    return daemon;
  }

  // `<status> <body>`.
  std::string Get(const std::string& target) const {
    const httplib::Result result = operations_->Get(target);
    if (!result) return "no answer: " + httplib::to_string(result.error());
    return std::to_string(result->status) + " " + result->body;
  }
  MetricText Scrape() const {
    const httplib::Result result = operations_->Get("/metrics");
    const absl::StatusOr<MetricText> parsed = MetricText::Parse(result ? result->body : "none");
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    return parsed.value_or(MetricText());
  }

  const TempFolder folder_;
  std::string operations_address_;  // HOST:PORT
  std::unique_ptr<httplib::Client> operations_;
  std::unique_ptr<httplib::Client> hub_;
};

TEST_F(OperationsTest, MetricsMoveWithPushAndPull) {
  const std::unique_ptr<Daemon> daemon = Start();
  EXPECT_EQ(Get("/livez"), "200 ok\n");
  EXPECT_EQ(Get("/readyz"), "200 ok\n");
  const MetricText before = Scrape();
  EXPECT_EQ(before.Sum("wdelta_models"), 0);
  EXPECT_EQ(before.Sum("wdelta_ready"), 1);

  const TestFiles files = SmallCheckpoint(1);
  for (const auto& [path, bytes] : files) folder_.Write("model/" + path, bytes);
  daemon->WdeltaOk({"push", folder_ / "model", "--name", "model", "--wait"});
  // The command comes back with the job's last commit, a moment before it is counted.
  EXPECT_TRUE(daemon->process().ReadUntil(" done in "));
  daemon->WdeltaOk({"pull", "model", folder_ / "pulled"});
  const auto& [path, bytes] = *files.begin();
  const httplib::Result resolved = hub_->Get("/model/resolve/main/" + path);
  ASSERT_TRUE(resolved);
  ASSERT_EQ(resolved->status, 200);
  EXPECT_TRUE(resolved->body == bytes);
  // A request is counted after its answer, and before the next of the same connection.
  ASSERT_TRUE(hub_->Get("/model/resolve/main/nosuch"));

  const MetricText after = Scrape();
  EXPECT_EQ(after.Sum("wdelta_models", {{"kind", "root"}, {"state", "ready"}}), 1);
  EXPECT_GT(after.Sum("wdelta_logical_bytes"), 0);
  EXPECT_EQ(after.Sum("wdelta_job_duration_seconds_count", {{"result", "succeeded"}}), 1);
  EXPECT_GT(after.Sum("wdelta_sent_bytes_total", {{"protocol", "grpc"}}), 0);
  EXPECT_GT(after.Sum("wdelta_sent_bytes_total", {{"protocol", "http"}}), bytes.size());
  EXPECT_EQ(after.Sum("wdelta_http_request_duration_seconds_count",
                      {{"method", "GET"}, {"status", "200"}}),
            1);
  EXPECT_GT(after.Sum("wdelta_db_wal_syncs_total", {{"db", "catalog"}}),
            before.Sum("wdelta_db_wal_syncs_total", {{"db", "catalog"}}));
  EXPECT_GT(after.Sum("wdelta_db_wal_bytes_total", {{"db", "blobs"}}), 0);
  EXPECT_GT(after.Sum("wdelta_disk_free_bytes"), 0);
  EXPECT_EQ(after.Sum("wdelta_scrape_source_failed"), 0);
  for (const Metric& metric : AllMetrics()) {
    if (metric.id == MetricId::kDamagedModels) continue;  // nothing is known before a scrub
    EXPECT_TRUE(after.families().contains(metric.name)) << metric.name;
  }
  EXPECT_EQ(daemon->Stop(), 0);
}

TEST_F(OperationsTest, IsNotReadyAsSoonAsItDrainsAndStillTellsWhy) {
  const std::unique_ptr<Daemon> daemon = Start({"--drain_grace_ms=60000"});
  folder_.Write("big/blob.bin", std::string(kBigBytes, 'x'));
  daemon->WdeltaOk({"push", folder_ / "big", "--name", "big"});
  const auto channel = daemon->NewChannel();
  const auto stub = v1::Fetch::NewStub(channel);
  v1::FetchFileRequest request;
  request.set_model("big");
  request.set_path("blob.bin");
  grpc::ClientContext context;
  const auto reader = stub->FetchFile(&context, request);
  v1::FetchFileResponse message;
  ASSERT_TRUE(reader->Read(&message));
  {
    HealthWatch health(daemon->NewChannel());
    EXPECT_EQ(health.Next(), "SERVING");
    EXPECT_EQ(Get("/readyz"), "200 ok\n");
    daemon->process().Signal(SIGTERM);
    EXPECT_EQ(health.Next(), "NOT_SERVING");
  }
  EXPECT_THAT(Get("/readyz"), HasSubstr("503 [-]serving failed: the daemon is stopping\n"));
  EXPECT_EQ(Get("/livez"), "200 ok\n");
  const MetricText draining = Scrape();
  EXPECT_EQ(draining.Sum("wdelta_ready"), 0);
  EXPECT_EQ(draining.Sum("wdelta_slots_taken", {{"of", "fetches"}}), 1);
  while (reader->Read(&message)) {
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(daemon->process().Wait(), 0) << daemon->process().output();
}

TEST_F(OperationsTest, AReadOnlyStoreIsNotReadyAndSaysSo) {
  const std::unique_ptr<Daemon> daemon = Start({"--min_free_bytes=1000000TiB"});
  EXPECT_THAT(Get("/readyz"), HasSubstr("503 [+]serving ok\n[+]store ok\n[-]disk failed: the "
                                        "store is read-only: expected at least"));
  EXPECT_EQ(Get("/readyz?exclude=disk"), "200 ok\n");
  EXPECT_EQ(Scrape().Sum("wdelta_read_only"), 1);
  EXPECT_EQ(daemon->Stop(), 0);
}

TEST_F(OperationsTest, SaysThatThePortIsInUse) {
  const std::unique_ptr<Daemon> daemon = Start();
  const CommandResult busy = RunDaemon(
      folder_ / "other", {"--listen=127.0.0.1:0", "--operations_listen=" + operations_address_});
  EXPECT_EQ(busy.exit_code, 1);
  EXPECT_THAT(busy.err, HasSubstr("cannot listen on " + operations_address_));
}

}  // namespace
}  // namespace wdelta::testing
