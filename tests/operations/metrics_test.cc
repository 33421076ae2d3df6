// The metrics of all services in this process, as they work.
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/operations/operations.h"
#include "spdlog/sinks/null_sink.h"
#include "tests/server/test_server.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/metric_text.h"

namespace wdelta::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kPath[] = "model.safetensors";

class MetricsTest : public ::testing::Test {
 protected:
  MetricsTest() {
    auto started = Operations::Start("", &log_);
    EXPECT_TRUE(started.ok()) << started.status();
    operations_ = *std::move(started);
    http_stats_.durations_seconds.Add({"GET", 200}, 0.01);
    const auto database = [] {
      DatabaseStats stats;
      stats.blob_cache.capacity_bytes = 1;
      return stats;
    };
    watch_ = operations_->WatchParts(
        {&server_.store(), &server_.environment(), &http_stats_, {{"blobs", database}}});
    operations_->SetServing();
    const auto weights = RandomWeights("a", {256, 256}, 1);
    base_ = {{kPath, BuildSafetensors({weights})}};
    tuned_ = {{kPath, BuildSafetensors({FineTuned(weights, 2)})}};
  }

  std::string Text() { return operations_->metrics().Scrape(); }
  MetricText Scrape() {
    const absl::StatusOr<MetricText> parsed = MetricText::Parse(Text());
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    return parsed.value_or(MetricText());
  }

  spdlog::logger log_{"test", std::make_shared<spdlog::sinks::null_sink_mt>()};
  TestServer server_;
  HttpStats http_stats_;
  std::unique_ptr<Operations> operations_;
  std::unique_ptr<Operations::Watch> watch_;
  TestFiles base_;
  TestFiles tuned_;
};

TEST_F(MetricsTest, AllOfTheTableIsExposedAndNoIdIsALabel) {
  const std::string id = server_.Push("base-name", base_).id();
  server_.RunJobs();
  const std::string tuned_id = server_.Push("tuned-name", tuned_, {"base-name"}).id();
  server_.RunJobs();
  ASSERT_EQ(CodeAndReason(server_.FetchFile("tuned-name", kPath).status), "OK");
  // What is damaged is told by a scrub, once one has come to its end.
  EXPECT_EQ(Scrape().families().count("wdelta_scrub_damaged_models"), 0U);
  ASSERT_TRUE(server_.store().maintenance().StartScrub(false).ok());
  server_.RunJobs();
  const std::string text = Text();
  const absl::StatusOr<MetricText> metrics = MetricText::Parse(text);
  ASSERT_TRUE(metrics.ok()) << metrics.status();
  EXPECT_EQ(metrics->families().size(), AllMetrics().size());
  for (const Metric& metric : AllMetrics()) {
    const auto family = metrics->families().find(metric.name);
    ASSERT_NE(family, metrics->families().end()) << metric.name;
    EXPECT_EQ(family->second.help, metric.help);
    EXPECT_FALSE(family->second.samples.empty()) << metric.name;
  }
  const std::set<std::string> allowed = {"action", "cache",  "code",   "db",       "kind",
                                         "le",     "method", "of",     "protocol", "result",
                                         "source", "state",  "status", "version",  "what"};
  for (const auto& [name, family] : metrics->families()) {
    for (const MetricSample& sample : family.samples) {
      for (const auto& [label, value] : sample.labels) {
        EXPECT_TRUE(allowed.contains(label)) << name << " " << label;
      }
      EXPECT_GE(sample.value, 0) << sample.name;
    }
  }
  for (const std::string& secret :
       {id, tuned_id, std::string("base-name"), std::string("tuned-")}) {
    EXPECT_THAT(text, Not(HasSubstr(secret)));
  }
}

TEST_F(MetricsTest, BucketsAreCumulative) {
  server_.Push("base", base_);
  server_.RunJobs();
  server_.FetchFile("base", kPath);
  const MetricText metrics = Scrape();
  int checked = 0;
  for (const Metric& metric : AllMetrics()) {
    if (metric.kind != MetricKind::kHistogram) continue;
    std::map<std::string, double> last;  // of each set of labels
    for (const MetricSample& sample : metrics.families().at(metric.name).samples) {
      std::map<std::string, std::string> labels = sample.labels;
      labels.erase("le");
      std::string key;
      for (const auto& [label, value] : labels) key += label + "=" + value + ",";
      if (sample.name == std::string(metric.name) + "_bucket") {
        EXPECT_GE(sample.value, last[key]) << metric.name << " " << key;
        last[key] = sample.value;
      }
      if (sample.labels.contains("le") && sample.labels.at("le") == "+Inf") {
        EXPECT_EQ(sample.value, metrics.Sum(std::string(metric.name) + "_count", labels)) << key;
        ++checked;
      }
    }
  }
  EXPECT_GE(checked, 5);
}

TEST_F(MetricsTest, DownloadsThatWaitAreSeen) {
  AdmissionQueue& downloads = server_.environment().downloads();
  std::vector<AdmissionQueue::Slot> taken;
  while (auto slot = downloads.TryEnter()) taken.push_back(*std::move(slot));
  std::thread waiter([&] { EXPECT_TRUE(downloads.Await(absl::Minutes(1)).ok()); });
  while (downloads.waiting() == 0) std::this_thread::yield();
  const MetricText metrics = Scrape();
  const std::map<std::string, std::string> labels = {{"of", "downloads"}};
  EXPECT_EQ(metrics.Sum("wdelta_slots", labels), downloads.limit());
  EXPECT_EQ(metrics.Sum("wdelta_slots_taken", labels), downloads.limit());
  EXPECT_EQ(metrics.Sum("wdelta_slots_waiting", labels), 1);
  taken.clear();
  waiter.join();
  EXPECT_EQ(Scrape().Sum("wdelta_slots_waiting", labels), 0);
}

TEST_F(MetricsTest, ValuesMoveWithCallsAndJobs) {
  MetricText metrics = Scrape();
  EXPECT_EQ(metrics.Sum("wdelta_ready"), 1);
  EXPECT_EQ(metrics.Sum("wdelta_models"), 0);
  const std::map<std::string, std::string> ingested = {{"kind", "ingest"}, {"result", "succeeded"}};
  ASSERT_TRUE(metrics.families().contains("wdelta_job_runs_total"));
  EXPECT_EQ(metrics.Sum("wdelta_job_runs_total"), 0);
  EXPECT_EQ(metrics.Sum("wdelta_received_bytes_total", {{"protocol", "grpc"}}), 0);

  server_.Push("base", base_);
  const auto file_bytes = static_cast<double>(base_.at(kPath).size());
  metrics = Scrape();
  EXPECT_EQ(metrics.Sum("wdelta_received_bytes_total", {{"protocol", "grpc"}}), file_bytes);
  EXPECT_EQ(metrics.Sum("wdelta_models", {{"kind", "root"}, {"state", "staged"}}), 1);
  EXPECT_EQ(metrics.Sum("wdelta_logical_bytes"), file_bytes);
  EXPECT_EQ(metrics.Sum("wdelta_stored_bytes", {{"state", "staged"}}), file_bytes);
  EXPECT_EQ(metrics.Sum("wdelta_jobs", {{"kind", "ingest"}, {"state", "pending"}}), 1);
  EXPECT_EQ(metrics.Sum("wdelta_rpc_duration_seconds_count",
                        {{"method", "Uploads.FinishUpload"}, {"code", "OK"}}),
            1);

  server_.RunJobs();
  server_.Push("tuned", tuned_, {"base"});
  server_.RunJobs();
  metrics = Scrape();
  EXPECT_EQ(metrics.Sum("wdelta_jobs"), 0);
  EXPECT_EQ(metrics.Sum("wdelta_job_duration_seconds_count", ingested), 2);
  EXPECT_EQ(metrics.Sum("wdelta_job_runs_total", ingested), 2);
  EXPECT_EQ(metrics.Sum("wdelta_job_runs_total"), 2);
  EXPECT_EQ(metrics.Sum("wdelta_models", {{"kind", "fine_tune"}, {"state", "ready"}}), 1);
  EXPECT_EQ(metrics.Sum("wdelta_models", {{"state", "staged"}}), 0);
  EXPECT_GT(metrics.Sum("wdelta_stored_bytes", {{"kind", "root"}}),
            metrics.Sum("wdelta_stored_bytes", {{"kind", "fine_tune"}}));
}

TEST_F(MetricsTest, ASecondFetchHitsTheCache) {
  server_.Push("base", base_);
  server_.RunJobs();
  server_.Push("tuned", tuned_, {"base"});
  server_.RunJobs();
  const auto fetch = [&] { return CodeAndReason(server_.FetchFile("tuned", kPath).status); };
  ASSERT_EQ(fetch(), "OK");
  const MetricText first = Scrape();
  ASSERT_EQ(fetch(), "OK");
  const MetricText second = Scrape();
  const std::map<std::string, std::string> chunk = {{"cache", "chunk"}};
  EXPECT_GT(second.Sum("wdelta_cache_hits_total", chunk),
            first.Sum("wdelta_cache_hits_total", chunk));
  EXPECT_GT(second.Sum("wdelta_cache_bytes", chunk), 0);
  EXPECT_GT(second.Sum("wdelta_cache_capacity_bytes", chunk), 0);
  EXPECT_EQ(second.Sum("wdelta_sent_bytes_total", {{"protocol", "grpc"}}),
            2 * static_cast<double>(tuned_.at(kPath).size()));
  EXPECT_EQ(second.Sum("wdelta_rpc_duration_seconds_count", {{"method", "Fetch.FetchFile"}}), 2);
  EXPECT_EQ(second.Sum("wdelta_fetch_duration_seconds_count"), 2);
  EXPECT_EQ(second.Sum("wdelta_fetch_chain_depth_sum"), 2);
  EXPECT_EQ(second.Sum("wdelta_fetch_read_bytes_total"),
            2 * static_cast<double>(tuned_.at(kPath).size()));
}

TEST_F(MetricsTest, CallsThatFailAreCountedByTheirCode) {
  EXPECT_EQ(CodeAndReason(server_.FetchFile("nosuch", kPath).status), "NOT_FOUND MODEL_NOT_FOUND");
  v1::GetModelRequest request;
  request.set_model("nosuch");
  v1::Model model;
  grpc::ClientContext context;
  EXPECT_FALSE(server_.models->GetModel(&context, request, &model).ok());
  const MetricText metrics = Scrape();
  for (const char* method : {"Fetch.FetchFile", "Models.GetModel"}) {
    EXPECT_EQ(metrics.Sum("wdelta_rpc_duration_seconds_count",
                          {{"method", method}, {"code", "NOT_FOUND"}}),
              1)
        << method;
  }
}

TEST_F(MetricsTest, WhatIsClosedIsNotAskedAnyMore) {
  watch_.reset();
  const MetricText metrics = Scrape();
  EXPECT_FALSE(metrics.families().contains("wdelta_models"));
  EXPECT_EQ(metrics.Sum("wdelta_ready"), 0);
}

}  // namespace
}  // namespace wdelta::testing
