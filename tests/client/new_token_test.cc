#include "client/cli/new_token.h"

#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/auth/token_file.h"
#include "storage/base/digest.h"
#include "storage/base/limits.h"

namespace wdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

std::string LongestPrefix() { return std::string(2 * limits::kMaxNamePartBytes + 1, 'n'); }

TEST(NewToken, IsAnotherEachTime) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const std::string token = *NewToken();
    EXPECT_THAT(token, MatchesRegex("wd_[A-Za-z0-9_-]+"));
    EXPECT_EQ(token.size(), 3u + 43u);  // 256 bits, six a character
    EXPECT_TRUE(seen.insert(token).second);
  }
}

TEST(NewToken, TheDaemonTakesItsEntry) {
  const std::string token = *NewToken();
  const std::string yaml = *TokenEntryYaml({"ci", {"read", "admin"}, {"run-", "team/x"}}, token) +
                           *TokenEntryYaml({"null", {"write"}, {}}, "other");
  EXPECT_THAT(yaml, Not(HasSubstr(token)));
  const auto entries = ParseTokenFile("t", yaml);
  ASSERT_TRUE(entries.ok()) << entries.status() << "\n" << yaml;
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ((*entries)[0]->token_sha256, Digest::Of(token).ToBytes());
  const Identity& ci = *(*entries)[0];
  EXPECT_EQ(ci.name, "ci");
  EXPECT_TRUE(ci.may_read && !ci.may_write && ci.may_administer);
  EXPECT_THAT(ci.name_prefixes, ElementsAre("run-", "team/x"));
  EXPECT_EQ((*entries)[1]->name, "null");
}

TEST(NewToken, WhatTheDaemonWouldNotTakeIsRefused) {
  for (const TokenEntryArguments& bad :
       {TokenEntryArguments{"", {"read"}, {}}, TokenEntryArguments{"a b", {"read"}, {}},
        TokenEntryArguments{"a\"b", {"read"}, {}},
        TokenEntryArguments{std::string(65, 'n'), {"read"}, {}},
        TokenEntryArguments{"a", {"read"}, {""}}, TokenEntryArguments{"a", {"read"}, {"run-*"}},
        TokenEntryArguments{"a", {}, {}},
        TokenEntryArguments{"a", {"read"}, std::vector<std::string>(65, "run-")},
        TokenEntryArguments{"a", {"read"}, {LongestPrefix() + "n"}}}) {
    EXPECT_EQ(TokenEntryYaml(bad, "t").status().code(), absl::StatusCode::kInvalidArgument)
        << bad.name;
  }
  // The most that it does take.
  const std::string most = *TokenEntryYaml(
      {std::string(64, 'n'), {"read"}, std::vector<std::string>(64, LongestPrefix())}, "t");
  EXPECT_TRUE(ParseTokenFile("t", most).ok()) << ParseTokenFile("t", most).status();
}

}  // namespace
}  // namespace wdelta
