#include "client/cpp/stall_report.h"

#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace wdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr absl::StatusCode kLost = absl::StatusCode::kUnavailable;
constexpr absl::StatusCode kGoesOn = absl::StatusCode::kOk;

class StallReportTest : public ::testing::Test {
 protected:
  std::unique_ptr<StallReport::Transfer> NewTransfer() {
    return std::make_unique<StallReport::Transfer>(report_);
  }

  std::vector<absl::StatusCode> told_;
  const StallCallback callback_ = [this](const absl::Status& reason) {
    told_.push_back(reason.code());
  };
  StallReport report_{callback_};
  const absl::Status lost_ = absl::UnavailableError("lost");
};

TEST_F(StallReportTest, OneThatRunsTellsNothing) {
  const auto running = NewTransfer();
  const auto stalled = NewTransfer();
  for (int i = 0; i < 3; ++i) {
    stalled->Stalled(lost_);
    running->GoesOn();
  }
  EXPECT_THAT(told_, ElementsAre(kLost));
  stalled->GoesOn();
  running->GoesOn();
  EXPECT_THAT(told_, ElementsAre(kLost, kGoesOn));
}

TEST_F(StallReportTest, SeveralTellOnce) {
  const auto first = NewTransfer();
  const auto second = NewTransfer();
  first->Stalled(lost_);
  second->Stalled(lost_);
  first->GoesOn();
  EXPECT_THAT(told_, ElementsAre(kLost));
  second->GoesOn();
  EXPECT_THAT(told_, ElementsAre(kLost, kGoesOn));
  first->Stalled(lost_);
  EXPECT_THAT(told_, ElementsAre(kLost, kGoesOn, kLost));
}

TEST_F(StallReportTest, OneThatEndedIsNotWaitedFor) {
  auto ended = NewTransfer();
  const auto other = NewTransfer();
  ended->Stalled(lost_);
  other->Stalled(lost_);
  ended.reset();
  EXPECT_THAT(told_, ElementsAre(kLost));
  other->GoesOn();
  EXPECT_THAT(told_, ElementsAre(kLost, kGoesOn));
}

TEST_F(StallReportTest, NoCallbackIsNoError) {
  const StallCallback none;
  StallReport report(none);
  StallReport::Transfer transfer(report);
  transfer.Stalled(lost_);
  transfer.GoesOn();
  EXPECT_THAT(told_, IsEmpty());
}

}  // namespace
}  // namespace wdelta
