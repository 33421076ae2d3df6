#include "client/cli/slice_argument.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace wdelta {
namespace {

// `PATTERN|AXIS|START:STOP` or `PATTERN|AXIS|INDEX/COUNT`.
std::string Show(const absl::StatusOr<SliceRule>& rule) {
  if (!rule.ok()) return std::string(rule.status().message());
  const std::string head = absl::StrCat(rule->name_pattern, "|", rule->axis, "|");
  if (const auto* const range = std::get_if<AxisRange>(&rule->part)) {
    return absl::StrCat(head, range->start, ":", range->stop);
  }
  const AxisShard& shard = std::get<AxisShard>(rule->part);
  return absl::StrCat(head, shard.index, "/", shard.count);
}

TEST(SliceArgument, Slices) {
  EXPECT_EQ(Show(ParseSlice("0=2:10")), "|0|2:10");
  EXPECT_EQ(Show(ParseSlice("1=:10")), "|1|0:10");
  EXPECT_EQ(Show(ParseSlice("1=10:")), "|1|10:0");
  EXPECT_EQ(Show(ParseSlice("1=:")), "|1|0:0");
  EXPECT_EQ(Show(ParseSlice("*.o_proj.*:1=0:4")), "*.o_proj.*|1|0:4");
  EXPECT_EQ(Show(ParseSlice("a:b=c:2=0:4")), "a:b=c|2|0:4");
}

TEST(SliceArgument, Shards) {
  EXPECT_EQ(Show(ParseShard("0=0/4")), "|0|0/4");
  EXPECT_EQ(Show(ParseShard("w:1=3/4")), "w|1|3/4");
}

TEST(SliceArgument, ErrorsNameTheTextAndWhatWasExpected) {
  for (const std::string text : {"", "0", "0=", "0=5", "0=1:2:3", "x=0:1", "-1=0:1", "0=a:1",
                                 "0=1:b", "=0:1", ":0=0:1", "0=-1:4", "w:=0:1", "0=5:5", "0=5:0",
                                 "64=0:1", "99999999999=0:1", "0=0:99999999999999999999"}) {
    const absl::StatusOr<SliceRule> rule = ParseSlice(text);
    ASSERT_TRUE(absl::IsInvalidArgument(rule.status())) << text;
    EXPECT_TRUE(absl::StrContains(rule.status().message(), "expected")) << rule.status();
  }
  for (const std::string text : {"", "0=1", "0=1/", "0=/2", "0=2/2", "0=0/0", "0=1/2/3", "0=0:1",
                                 "0=-1/2", "x=0/2", ":0=0/2"}) {
    const absl::StatusOr<SliceRule> rule = ParseShard(text);
    ASSERT_TRUE(absl::IsInvalidArgument(rule.status())) << text;
    EXPECT_TRUE(absl::StrContains(rule.status().message(), "expected")) << rule.status();
  }
  EXPECT_EQ(Show(ParseSlice("0=5")),
            "slice `0=5`: expected [PATTERN:]AXIS=START:STOP, found `0=5`");
  EXPECT_EQ(Show(ParseShard("0=4/4")), "shard `0=4/4`: expected an I below N, found `0=4/4`");
}

}  // namespace
}  // namespace wdelta
