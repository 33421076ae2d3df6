#include "server/operations/operations_server.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "httplib.h"
#include "server/operations/operations.h"
#include "spdlog/sinks/null_sink.h"
#include "tests/support/metric_text.h"

namespace wdelta::testing {
namespace {

using ::testing::HasSubstr;

class OperationsServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto started = Operations::Start("127.0.0.1:0", &log_);
    ASSERT_TRUE(started.ok()) << started.status();
    operations_ = *std::move(started);
    const std::string address = operations_->address();
    ASSERT_TRUE(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port_)) << address;
    client_ = std::make_unique<httplib::Client>("127.0.0.1", port_);
    client_->set_keep_alive(true);
  }

  // `<status> <body>`.
  std::string Get(const std::string& target) {
    const httplib::Result result = client_->Get(target);
    if (!result) return "no answer: " + httplib::to_string(result.error());
    return std::to_string(result->status) + " " + result->body;
  }

  spdlog::logger log_{"test", std::make_shared<spdlog::sinks::null_sink_mt>()};
  std::unique_ptr<Operations> operations_;
  std::unique_ptr<httplib::Client> client_;
  int port_ = 0;
};

TEST_F(OperationsServerTest, LivesBeforeItIsReady) {
  EXPECT_EQ(Get("/livez"), "200 ok\n");
  EXPECT_EQ(Get("/livez?verbose"), "200 [+]process ok\nlivez check passed\n");
  EXPECT_THAT(Get("/readyz"), HasSubstr("503 [-]serving failed: the daemon is starting\n"));
  absl::Status disk;
  operations_->health().SetStore([&disk] { return disk; });
  operations_->SetServing();
  EXPECT_EQ(Get("/readyz"), "200 ok\n");
  EXPECT_EQ(Get("/readyz?verbose"),
            "200 [+]serving ok\n[+]store ok\n[+]disk ok\nreadyz check passed\n");
  disk = absl::ResourceExhaustedError("the store is read-only");
  EXPECT_THAT(Get("/readyz"), HasSubstr("503 [+]serving ok\n[+]store ok\n[-]disk failed: "));
  EXPECT_EQ(Get("/readyz?exclude=disk"), "200 ok\n");
  EXPECT_THAT(Get("/readyz?exclude=disk&exclude=store&verbose"),
              HasSubstr("200 [+]serving ok\n[ ]store excluded\n[ ]disk excluded\n"));
  operations_->SetDraining();
  EXPECT_THAT(Get("/readyz?exclude=disk"), HasSubstr("503 [-]serving failed: the daemon is stop"));
  EXPECT_EQ(Get("/livez"), "200 ok\n");
  operations_->health().SetStore(nullptr);
}

TEST_F(OperationsServerTest, ServesTheProcessBeforeTheStore) {
  const httplib::Result result = client_->Get("/metrics");
  ASSERT_TRUE(result);
  EXPECT_EQ(result->status, 200);
  EXPECT_EQ(result->get_header_value("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
  const absl::StatusOr<MetricText> metrics = MetricText::Parse(result->body);
  ASSERT_TRUE(metrics.ok()) << metrics.status();
  EXPECT_EQ(metrics->Sum("wdelta_build_info", {{"version", WDELTA_VERSION}}), 1);
  EXPECT_EQ(metrics->Sum("wdelta_ready"), 0);
  EXPECT_GT(metrics->Sum("wdelta_process_resident_memory_bytes"), 1e6);
  EXPECT_GT(metrics->Sum("wdelta_process_open_fds"), 2);
  EXPECT_GT(metrics->Sum("wdelta_process_start_time_seconds"), 1.7e9);
  EXPECT_FALSE(metrics->families().contains("wdelta_models"));
}

TEST_F(OperationsServerTest, RefusesWhatItDoesNotServe) {
  EXPECT_THAT(Get("/"), HasSubstr("404 "));
  EXPECT_THAT(Get("/metrics/"), HasSubstr("404 "));
  EXPECT_THAT(Get("/api/models"), HasSubstr("404 "));
  const httplib::Result posted = client_->Post("/metrics", "body", "text/plain");
  ASSERT_TRUE(posted);
  EXPECT_EQ(posted->status, 405);
  EXPECT_EQ(posted->get_header_value("Allow"), "GET, HEAD");
  EXPECT_EQ(posted->get_header_value("Connection"), "close");
  const httplib::Result head = client_->Head("/livez");
  ASSERT_TRUE(head);
  EXPECT_EQ(head->status, 200);
  EXPECT_EQ(head->body, "");
  EXPECT_EQ(Get("/livez"), "200 ok\n");
}

TEST_F(OperationsServerTest, SaysWhyItDoesNotStart) {
  const auto second = Operations::Start(operations_->address(), &log_);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(operations_->address()));
  const auto none = Operations::Start("", &log_);
  ASSERT_TRUE(none.ok());
  EXPECT_EQ((*none)->address(), "");
}

}  // namespace
}  // namespace wdelta::testing
