#include "client/cpp/rpc_status.h"

#include "gtest/gtest.h"
#include "storage/base/error.h"

namespace wdelta {
namespace {

TEST(RpcStatus, ABusyServerIsOneWithTooManyOfSomething) {
  for (const char* const reason :
       {"TOO_MANY_FETCHES", "TOO_MANY_FOLDINGS", "TOO_MANY_STREAMS", "TOO_MANY_CALLS"}) {
    EXPECT_TRUE(IsBusy(MakeError(absl::StatusCode::kResourceExhausted, reason, "try later")))
        << reason;
    EXPECT_FALSE(IsBusy(MakeError(absl::StatusCode::kInternal, reason, "no limit"))) << reason;
  }
  // Which stay for as long as nobody makes room.
  EXPECT_FALSE(IsBusy(MakeError(absl::StatusCode::kResourceExhausted, "DISK_FULL", "no room")));
  EXPECT_FALSE(IsBusy(absl::ResourceExhaustedError("no reason")));
  EXPECT_FALSE(IsBusy(absl::OkStatus()));
}

}  // namespace
}  // namespace wdelta
