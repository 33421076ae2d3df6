#include "storage/base/local_address.h"

#include "gtest/gtest.h"

namespace wdelta {
namespace {

TEST(LocalAddress, OnlySomeAreLocal) {
  for (const char* local : {"localhost:1", "127.0.0.2:1", "[::1]:1", "unix:/a:b"}) {
    EXPECT_TRUE(IsLocalAddress(local)) << local;
  }
  for (const char* other : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "localhost.example.org:1",
                            "127.example.org:1", "", ":1"}) {
    EXPECT_FALSE(IsLocalAddress(other)) << other;
  }
}

}  // namespace
}  // namespace wdelta
