#include "server/jobs/gc_timer.h"

#include <atomic>
#include <memory>

#include "absl/synchronization/blocking_counter.h"
#include "gtest/gtest.h"
#include "spdlog/sinks/null_sink.h"

namespace wdelta {
namespace {

class GcTimerTest : public ::testing::Test {
 protected:
  spdlog::logger log_{"test", std::make_shared<spdlog::sinks::null_sink_mt>()};
};

TEST_F(GcTimerTest, StartsAgainAndAgainAlsoAfterAnError) {
  absl::BlockingCounter three(3);
  std::atomic<int> count = 0;
  GcTimer timer(
      [&]() -> absl::StatusOr<std::string> {
        const int number = ++count;
        if (number <= 3) three.DecrementCount();
        if (number == 1) return absl::UnavailableError("down");
        return "job";
      },
      absl::Milliseconds(1), &log_);
  three.Wait();
}

TEST_F(GcTimerTest, StopsWhileItWaits) {
  std::atomic<int> count = 0;
  {
    GcTimer timer([&]() -> absl::StatusOr<std::string> { return ++count, "job"; }, absl::Hours(1),
                  &log_);
    timer.RequestStop();
  }
  EXPECT_EQ(count, 0);
}

TEST_F(GcTimerTest, NeverWithoutAnInterval) {
  const GcTimer timer([]() -> absl::StatusOr<std::string> { return absl::InternalError("called"); },
                      absl::ZeroDuration(), &log_);
}

}  // namespace
}  // namespace wdelta
