#include "server/auth/token_file.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/auth/auth_limits.h"
#include "storage/base/digest.h"
#include "tests/support/temp_folder.h"

namespace wdelta {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string Hash(const std::string& token) { return Digest::Of(token).ToHex(); }

std::string Entry(const std::string& name, const std::string& token) {
  return absl::StrCat("- name: ", name, "\n  sha256: ", Hash(token), "\n  scopes: [read]\n");
}

std::string ErrorOf(const std::string& yaml) {
  const auto parsed = ParseTokenFile("/etc/t.yaml", yaml);
  EXPECT_FALSE(parsed.ok()) << yaml;
  const std::string message(parsed.status().message());
  EXPECT_THAT(message, HasSubstr("/etc/t.yaml"));
  EXPECT_THAT(message, Not(HasSubstr("\n")));
  return message;
}

TEST(TokenFile, ReadsEveryField) {
  const auto parsed =
      ParseTokenFile("t", absl::StrCat("- {name: ci, sha256: ", Hash("a"),
                                       ", scopes: [read, write], "
                                       "names: [run-, team/]}\n- name: ops\n",
                                       "  sha256: ", Hash("b"), "\n  scopes:\n  - admin\n"));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  ASSERT_EQ(parsed->size(), 2u);
  const Identity& ci = *(*parsed)[0];
  EXPECT_EQ(ci.token_sha256, Digest::Of("a").ToBytes());
  EXPECT_EQ(ci.name, "ci");
  EXPECT_TRUE(ci.Has(Scope::kRead) && ci.Has(Scope::kWrite) && !ci.Has(Scope::kAdmin));
  EXPECT_THAT(ci.name_prefixes, ElementsAre("run-", "team/"));
  const Identity& ops = *(*parsed)[1];
  EXPECT_TRUE(!ops.Has(Scope::kRead) && !ops.Has(Scope::kWrite) && ops.Has(Scope::kAdmin));
  EXPECT_TRUE(ops.Has(Scope::kAny));
  EXPECT_THAT(ops.name_prefixes, IsEmpty());
}

TEST(TokenFile, NobodyMayBeListed) {
  const auto parsed = ParseTokenFile("t", "[]\n");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_THAT(*parsed, IsEmpty());
}

TEST(TokenFile, ErrorsNameEntryAndField) {
  const std::string good = Entry("ci", "a");
  const auto second = [&](const std::string& fields) {
    return ErrorOf(absl::StrCat(good, "- ", fields, "\n"));
  };
  const std::string hash = Hash("b");
  EXPECT_THAT(ErrorOf(""), HasSubstr("list of entries"));
  EXPECT_THAT(ErrorOf("tokens: []"), HasSubstr("list of entries"));
  EXPECT_THAT(ErrorOf("- ["), HasSubstr("line"));
  EXPECT_THAT(second("word"), AllOf(HasSubstr("entry 2"), HasSubstr("sha256")));
  EXPECT_THAT(second("{sha256: " + hash + ", scopes: [read]}"),
              AllOf(HasSubstr("entry 2: name"), HasSubstr("none")));
  EXPECT_THAT(second("{name: 'a b', sha256: " + hash + ", scopes: [read]}"),
              AllOf(HasSubstr("entry 2 ('a b'): name"), HasSubstr("[A-Za-z0-9_.-]")));
  EXPECT_THAT(second("{name: b, scopes: [read]}"), HasSubstr("entry 2 ('b'): sha256"));
  EXPECT_THAT(second("{name: b, sha256: " + hash + "}"), HasSubstr("entry 2 ('b'): scopes"));
  EXPECT_THAT(second("{name: b, sha256: " + hash + ", scopes: []}"), HasSubstr("scopes"));
  EXPECT_THAT(second("{name: b, sha256: " + hash + ", scopes: read}"), HasSubstr("scopes"));
  EXPECT_THAT(second("{name: b, sha256: " + hash + ", scopes: [root]}"),
              AllOf(HasSubstr("scopes"), HasSubstr("'root'")));
  EXPECT_THAT(second("{name: b, sha256: " + hash + ", scopes: [read], names: []}"),
              HasSubstr("('b'): names"));
  EXPECT_THAT(second("{name: b, sha256: " + hash + ", scopes: [read], names: ['']}"),
              HasSubstr("('b'): names"));
  EXPECT_THAT(second("{name: b, sha256: " + hash + ", scopes: [read], names: ['run-*']}"),
              AllOf(HasSubstr("('b'): names"), HasSubstr("run-*")));
  EXPECT_THAT(second("{name: b, sha256: " + hash + ", scopes: [read], scope: x}"),
              AllOf(HasSubstr("('b')"), HasSubstr("unknown field 'scope'")));
  EXPECT_THAT(second("{name: b, name: c, sha256: " + hash + ", scopes: [read]}"),
              HasSubstr("name is given twice"));
  EXPECT_THAT(ErrorOf(good + Entry("ci", "b")), AllOf(HasSubstr("entry 2"), HasSubstr("name")));
  EXPECT_THAT(ErrorOf(good + Entry("b", "a")), AllOf(HasSubstr("entry 2"), HasSubstr("sha256")));
}

TEST(TokenFile, ATokenInPlaceOfItsHashIsNotTold) {
  EXPECT_THAT(ErrorOf("- {name: b, sha256: wd_secret, scopes: [read]}"),
              AllOf(HasSubstr("sha256"), HasSubstr("9 characters"), Not(HasSubstr("secret"))));
}

TEST(TokenFile, TheHashOfNoTokenIsRefused) {
  EXPECT_THAT(ErrorOf(Entry("ci", "")),
              AllOf(HasSubstr("entry 1 ('ci'): sha256"), HasSubstr("found that of no text")));
}

TEST(TokenFile, IsBounded) {
  std::string many;
  for (size_t i = 0; i <= auth_limits::kMaxTokens; ++i) {
    absl::StrAppend(&many, Entry(absl::StrCat("t", i), absl::StrCat(i)));
  }
  EXPECT_THAT(ErrorOf(many), HasSubstr("at most 1000 entries, found 1001"));
  EXPECT_THAT(ErrorOf(std::string(auth_limits::kMaxTokenFileBytes + 1, '#')), HasSubstr("bytes"));
  EXPECT_THAT(ErrorOf(Entry(std::string(65, 'n'), "a")), HasSubstr("1 to 64"));
  std::string prefixes;
  for (size_t i = 0; i <= auth_limits::kMaxPrefixesOfToken; ++i) absl::StrAppend(&prefixes, "p,");
  EXPECT_THAT(ErrorOf(absl::StrCat(Entry("b", "a"), "  names: [", prefixes, "]\n")),
              HasSubstr("at most 64 prefixes, found 65"));
  EXPECT_THAT(ErrorOf(absl::StrCat(Entry("b", "a"), "  names: [", std::string(194, 'p'), "]\n")),
              HasSubstr("1 to 193"));
}

TEST(TokenFile, AFileThatCannotBeReadIsNamed) {
  const TempFolder folder;
  EXPECT_EQ(ReadTokenFile(folder / "none").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(ReadTokenFile(folder / "none").status().message()),
              HasSubstr(folder / "none"));
  EXPECT_FALSE(ReadTokenFile(folder.path()).ok());
  folder.Write("t", Entry("a", "x"));
  EXPECT_TRUE(ReadTokenFile(folder / "t").ok());
  folder.Write("t", std::string(2 * auth_limits::kMaxTokenFileBytes, '#'));
  EXPECT_EQ(ReadTokenFile(folder / "t").status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace wdelta
