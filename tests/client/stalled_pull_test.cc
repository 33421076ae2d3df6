// Pulls from a server that is busy or gone for a while.
#include <filesystem>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "tests/client/pull_fixture.h"

namespace wdelta::testing {
namespace {

using ::testing::ElementsAre;

TEST_F(PullTest, ABusyServerIsWaitedFor) {
  server_.faults.fetches_refused = 12;
  const PullOptions patient{.max_reconnects = 0, .initial_backoff = absl::Microseconds(1)};
  ASSERT_TRUE(Pull(patient).ok());
  EXPECT_EQ(folder_.Read("out/sub/w.safetensors"), content_);
  std::filesystem::remove_all(folder_ / "out");
  server_.faults.fetches_refused = 12;
  const absl::Status status = Pull({.jobs = 1, .max_busy_wait = absl::ZeroDuration()});
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(ErrorReason(status), "TOO_MANY_FETCHES");
  EXPECT_EQ(server_.faults.fetches_refused, 11);
}

TEST_F(PullTest, WaitingForABusyServerUsesNoReconnectsUp) {
  server_.faults.fetches_refused = 12;
  server_.faults.fetch_break_after_pieces = 1;
  server_.faults.fetch_breaks = 2;
  const PullOptions options{
      .jobs = 1, .max_reconnects = 2, .initial_backoff = absl::Microseconds(1)};
  ASSERT_TRUE(Pull(options).ok());
  EXPECT_EQ(folder_.Read("out/sub/w.safetensors"), content_);
}

class StalledPullTest : public PullTest {
 protected:
  StalledPullTest() {
    options_.paths = {"sub/w.safetensors"};
    options_.initial_backoff = absl::Microseconds(1);
    options_.on_stall = [this](const absl::Status& reason) { told_.push_back(reason); };
  }
  std::vector<absl::StatusCode> ToldCodes() const {
    std::vector<absl::StatusCode> codes;
    for (const absl::Status& status : told_) codes.push_back(status.code());
    return codes;
  }

  PullOptions options_;
  std::vector<absl::Status> told_;
};

TEST_F(StalledPullTest, AReconnectThatFailsIsToldOnceAndThatItGoesOn) {
  server_.faults.fetch_breaks = 4;
  ASSERT_TRUE(Pull(options_).ok());
  EXPECT_THAT(ToldCodes(), ElementsAre(absl::StatusCode::kUnavailable, absl::StatusCode::kOk));
  EXPECT_EQ(told_[0].message(), "broken by the test");
}

TEST_F(StalledPullTest, ABusyServerIsTold) {
  server_.faults.fetches_refused = 3;
  ASSERT_TRUE(Pull(options_).ok());
  EXPECT_THAT(ToldCodes(),
              ElementsAre(absl::StatusCode::kResourceExhausted, absl::StatusCode::kOk));
}

TEST_F(StalledPullTest, AnEmptyFileGoesOnToo) {
  options_.paths = {"empty"};
  server_.faults.fetches_refused = 3;
  ASSERT_TRUE(Pull(options_).ok());
  EXPECT_THAT(ToldCodes(),
              ElementsAre(absl::StatusCode::kResourceExhausted, absl::StatusCode::kOk));
}

TEST_F(StalledPullTest, WhatOthersReceiveIsNotTold) {
  server_.AddModel("m", {{"large", std::string(100'000, 'x')}, {"small", "y"}});
  server_.faults.fetches_refused = 20;
  server_.faults.refused_path = "small";
  options_.paths = {};
  options_.jobs = 2;
  ASSERT_TRUE(Pull(options_).ok());
  EXPECT_THAT(ToldCodes(),
              ElementsAre(absl::StatusCode::kResourceExhausted, absl::StatusCode::kOk));
}

TEST_F(StalledPullTest, WhatIsMendedAtOnceIsNotTold) {
  server_.faults.fetch_break_after_pieces = 2;
  server_.faults.fetch_breaks = 3;
  ASSERT_TRUE(Pull(options_).ok());
  EXPECT_THAT(told_, ::testing::IsEmpty());
}

}  // namespace
}  // namespace wdelta::testing
