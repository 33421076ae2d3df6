#include "server/http/byte_range.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace wdelta {
namespace {

// `all`, `none` or `offset+size`.
std::string Parsed(const std::string& range, uint64_t file_bytes) {
  const RequestedBytes bytes = ParseByteRange(range, file_bytes);
  if (bytes.kind == RequestedBytes::Kind::kUnsatisfiable) return "none";
  if (bytes.kind == RequestedBytes::Kind::kAll) {
    EXPECT_EQ(bytes.offset, 0U);
    EXPECT_EQ(bytes.size, file_bytes);
    return "all";
  }
  return absl::StrCat(bytes.offset, "+", bytes.size);
}

TEST(ByteRange, OneRangeIsCutToTheFile) {
  EXPECT_EQ(Parsed("bytes=0-0", 10), "0+1");
  EXPECT_EQ(Parsed("bytes=2-5", 10), "2+4");
  EXPECT_EQ(Parsed("bytes=2-", 10), "2+8");
  EXPECT_EQ(Parsed("bytes=9-", 10), "9+1");
  EXPECT_EQ(Parsed("bytes=0-100000", 10), "0+10");
  EXPECT_EQ(Parsed("bytes=-3", 10), "7+3");
  EXPECT_EQ(Parsed("bytes=-30", 10), "0+10");
  EXPECT_EQ(Parsed("Bytes= 2-5 ", 10), "2+4");
}

TEST(ByteRange, BehindTheEndThereIsNothing) {
  EXPECT_EQ(Parsed("bytes=10-", 10), "none");
  EXPECT_EQ(Parsed("bytes=10-20", 10), "none");
  EXPECT_EQ(Parsed("bytes=-0", 10), "none");
  EXPECT_EQ(Parsed("bytes=0-", 0), "none");
  EXPECT_EQ(Parsed("bytes=-1", 0), "none");
}

TEST(ByteRange, WhatIsNoRangeAsksForAll) {
  for (const char* const range :
       {"", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1-2,4-5", "bytes=5-2", "bytes=+1-2",
        "bytes=1--2", "bytes=1 -2", "items=1-2", "1-2", "bytes=0x1-2"}) {
    EXPECT_EQ(Parsed(range, 10), "all") << range;
  }
}

TEST(ByteRange, NumbersThatDoNotFitAreTheLargest) {
  const std::string huge(400, '9');
  EXPECT_EQ(Parsed(absl::StrCat("bytes=", huge, "-"), 10), "none");
  EXPECT_EQ(Parsed(absl::StrCat("bytes=1-", huge), 10), "1+9");
  EXPECT_EQ(Parsed(absl::StrCat("bytes=-", huge), 10), "0+10");
  EXPECT_EQ(Parsed("bytes=0-18446744073709551615", UINT64_MAX), absl::StrCat("0+", UINT64_MAX));
  EXPECT_EQ(Parsed("bytes=18446744073709551614-", UINT64_MAX), "18446744073709551614+1");
}

}  // namespace
}  // namespace wdelta
