#include "storage/base/failpoint.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace wdelta {
namespace {

// Each in a process of its own, which reads the variable at its first call.
void CallTwice(const char* variable, const char* name) {
  setenv("WDELTA_FAILPOINTS", variable, 1);
  Failpoint(name);
  Failpoint(name);
  _exit(0);
}

TEST(FailpointDeathTest, KillsAtTheCallThatWasAskedFor) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const ::testing::KilledBySignal is_killed(SIGKILL);
  const ::testing::ExitedWithCode goes_on(0);
  EXPECT_EXIT(CallTwice("blob.put.after:1", "blob.put.after"), is_killed, "");
  EXPECT_EXIT(CallTwice("x:9,blob.put.after:2", "blob.put.after"), is_killed, "");
  EXPECT_EXIT(CallTwice("blob.put.after:3", "blob.put.after"), goes_on, "");
  EXPECT_EXIT(CallTwice("blob.put.after:1", "blob.put.before"), goes_on, "");
  for (const char* unreadable : {"", ",", "blob.put.after", "blob.put.after:", "blob.put.after:x",
                                 "blob.put.after:0", "blob.put.after:-1"}) {
    EXPECT_EXIT(CallTwice(unreadable, "blob.put.after"), goes_on, "") << unreadable;
  }
}

}  // namespace
}  // namespace wdelta
