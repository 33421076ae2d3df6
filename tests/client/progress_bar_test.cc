#include "client/cli/progress_bar.h"

#include <string>

#include "gtest/gtest.h"
#include "storage/base/error.h"

namespace wdelta {
namespace {

TEST(StallLine, SaysWhyAndThatItGoesOn) {
  EXPECT_EQ(StallLine("pull", absl::UnavailableError("refused\nby peer")),
            "wdelta: pull: connection lost, trying again: refused?by peer");
  EXPECT_EQ(StallLine("fetch", MakeError(absl::StatusCode::kResourceExhausted, "TOO_MANY_FETCHES",
                                         "64 fetches run")),
            "wdelta: fetch: the server is busy, trying again: 64 fetches run");
  EXPECT_EQ(StallLine("push", absl::OkStatus()), "wdelta: push: goes on");
}

// A test's stderr is no terminal.
TEST(ProgressBar, LinesAreSaidUnlessItIsQuiet) {
  ::testing::internal::CaptureStderr();
  {
    ProgressBar bar("pull", /*is_quiet=*/false);
    bar.Update({.done_bytes = 1, .total_bytes = 2});
    bar.Say("a line");
    ProgressBar quiet("pull", /*is_quiet=*/true);
    quiet.Say("nobody hears it");
  }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "a line\n");
}

}  // namespace
}  // namespace wdelta
