#include "server/jobs/periodic_task.h"

#include <atomic>
#include <memory>
#include <sstream>

#include "absl/synchronization/blocking_counter.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "spdlog/sinks/ostream_sink.h"

namespace wdelta {
namespace {

class PeriodicTaskTest : public ::testing::Test {
 protected:
  std::ostringstream text_;
  spdlog::logger log_{"test", std::make_shared<spdlog::sinks::ostream_sink_mt>(text_)};
};

TEST_F(PeriodicTaskTest, RunsAgainAndAgainAlsoAfterAnError) {
  absl::BlockingCounter three(3);
  std::atomic<int> count = 0;
  {
    const PeriodicTask task(
        "errand",
        [&] {
          const int number = ++count;
          if (number <= 3) three.DecrementCount();
          return number == 1 ? absl::UnavailableError("down") : absl::OkStatus();
        },
        absl::Milliseconds(1), &log_);
    three.Wait();
  }
  EXPECT_THAT(text_.str(), ::testing::HasSubstr("errand: UNAVAILABLE: down"));
}

TEST_F(PeriodicTaskTest, StopsWhileItWaits) {
  std::atomic<int> count = 0;
  {
    PeriodicTask task(
        "errand", [&] { return ++count, absl::OkStatus(); }, absl::Hours(1), &log_);
    task.RequestStop();
  }
  EXPECT_EQ(count, 0);
}

TEST_F(PeriodicTaskTest, NeverWithoutAnInterval) {
  const PeriodicTask task(
      "errand", [] { return absl::InternalError("called"); }, absl::ZeroDuration(), &log_);
}

}  // namespace
}  // namespace wdelta
