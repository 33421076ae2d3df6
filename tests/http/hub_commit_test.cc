#include "server/http/hub_commit.h"

#include <map>
#include <random>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/http/http_limits.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"

namespace wdelta {
namespace {

constexpr char kHeader[] = R"({"key":"header","value":{"summary":"s","description":""}})";

class Parsing {
 public:
  // Feeds the body in pieces of random sizes.
  absl::StatusOr<HubCommit> Parse(const std::string& body, std::mt19937& random) {
    HubCommitParser parser([this](const Digest& digest, absl::string_view content) {
      kept[digest.ToHex()] = std::string(content);
      return absl::OkStatus();
    });
    for (size_t at = 0; at < body.size();) {
      const size_t size = std::min<size_t>(1 + random() % 50, body.size() - at);
      const absl::Status status = parser.Feed(absl::string_view(body).substr(at, size));
      if (!status.ok()) return status;
      at += size;
    }
    return parser.Finish();
  }
  std::string ReasonFor(const std::string& body) {
    std::mt19937 random(1);
    const absl::StatusOr<HubCommit> commit = Parse(body, random);
    return commit.ok() ? "OK" : ErrorReason(commit.status());
  }

  std::map<std::string, std::string> kept;
};

std::string Line(const std::string& key, const std::string& value) {
  return absl::StrCat("\n{\"key\":\"", key, "\",\"value\":", value, "}");
}

TEST(HubCommit, TakesEveryOperation) {
  const std::string oid = Digest::Of("w").ToHex();
  const std::string body = absl::StrCat(
      R"({"key":"header","value":{"summary":"sum","description":"d","parentCommit":"abc"}})",
      Line("file", R"({"path":"a.txt","encoding":"base64","content":"aGVsbG8="})"),
      Line("file", R"({"path":"b.txt","encoding":"utf-8","content":"plain"})"),
      Line("lfsFile",
           absl::StrCat(R"({"path":"d/w","algo":"sha256","size":1,"oid":")", oid, "\"}")),
      Line("deletedFile", R"({"path":"old"})"), Line("deletedFolder", R"({"path":"x/"})"),
      Line("deletedFolder", R"({"path":"y"})"), "\n\n");
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  Parsing parsing;
  const absl::StatusOr<HubCommit> commit = parsing.Parse(body, random);
  ASSERT_TRUE(commit.ok()) << commit.status();
  EXPECT_EQ(commit->summary, "sum");
  EXPECT_EQ(commit->parent_commit, "abc");
  ASSERT_EQ(commit->operations.size(), 6U);
  const auto& first = std::get<HubCommit::Add>(commit->operations[0]);
  EXPECT_EQ(first.path, "a.txt");
  EXPECT_EQ(first.size_bytes, 5U);
  EXPECT_EQ(parsing.kept[first.digest.ToHex()], "hello");
  EXPECT_EQ(parsing.kept[std::get<HubCommit::Add>(commit->operations[1]).digest.ToHex()], "plain");
  EXPECT_EQ(std::get<HubCommit::Add>(commit->operations[2]).digest.ToHex(), oid);
  EXPECT_EQ(std::get<HubCommit::Remove>(commit->operations[3]).path, "old");
  EXPECT_EQ(std::get<HubCommit::Remove>(commit->operations[4]).path, "x/");
  EXPECT_EQ(std::get<HubCommit::Remove>(commit->operations[5]).path, "y/");
}

TEST(HubCommit, RefusesWhatIsNotOne) {
  Parsing parsing;
  EXPECT_EQ(parsing.ReasonFor(kHeader), "OK");
  for (const std::string& line :
       {std::string("\n[]"), std::string("\n{"), Line("nothing", R"({"path":"a"})"),
        Line("file", R"({"path":"a"})"), Line("file", R"({"content":"a"})"),
        Line("file", R"({"path":"a","encoding":"base64","content":"!"})"),
        Line("lfsFile", R"({"path":"a","oid":"12","size":1})"),
        Line("lfsFile",
             absl::StrCat(R"({"path":"a","size":-1,"oid":")", Digest::Of("w").ToHex(), "\"}")),
        Line("deletedFile", "{}"), Line("deletedFile", "3"),
        Line("file", "{\"a\":" + std::string(1000, '['))}) {
    EXPECT_EQ(parsing.ReasonFor(kHeader + line), "BAD_BODY") << line;
  }
  EXPECT_EQ(parsing.ReasonFor(""), "BAD_BODY");
  EXPECT_EQ(parsing.ReasonFor(Line("deletedFile", R"({"path":"a"})")), "BAD_BODY");
  for (const char* const path : {"../a", "/a", "a//b", ""}) {
    EXPECT_EQ(parsing.ReasonFor(absl::StrCat(kHeader, "\n{\"key\":\"file\",\"value\":{\"path\":\"",
                                             path, "\",\"content\":\"\"}}")),
              "BAD_PATH")
        << path;
  }
  EXPECT_EQ(parsing.ReasonFor(std::string(http_limits::kMaxCommitLineBytes + 1, ' ')),
            "BODY_TOO_LARGE");
}

TEST(HubCommit, OperationsAreBounded) {
  std::string body = kHeader;
  for (uint64_t i = 0; i <= limits::kMaxEntriesPerUpload; ++i) {
    absl::StrAppend(&body, Line("deletedFile", R"({"path":"a"})"));
  }
  EXPECT_EQ(Parsing().ReasonFor(body), "BODY_TOO_LARGE");
}

TEST(HubCommit, PathsAreBounded) {
  for (const char* const key : {"file", "lfsFile", "deletedFile", "deletedFolder"}) {
    const std::string path(limits::kMaxPathBytes + 1, 'a');
    EXPECT_EQ(Parsing().ReasonFor(absl::StrCat(
                  kHeader, Line(key, absl::StrCat(R"({"content":"","path":")", path, "\"}")))),
              "BAD_BODY")
        << key;
  }
  const std::string longest(limits::kMaxPathBytes, 'a');
  const std::string line = Line("deletedFile", absl::StrCat(R"({"path":")", longest, "\"}"));
  std::string body = kHeader;
  for (size_t bytes = 0; bytes + longest.size() <= http_limits::kMaxCommitPathBytes;
       bytes += longest.size()) {
    body += line;
  }
  EXPECT_EQ(Parsing().ReasonFor(body), "OK");
  EXPECT_EQ(Parsing().ReasonFor(body + line), "BODY_TOO_LARGE");
}

TEST(HubCommit, RandomChangesOfCommitsAreTakenOrRefused) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const std::string good = absl::StrCat(
      kHeader, Line("file", R"({"path":"a","encoding":"base64","content":"aGVsbG8="})"),
      Line("deletedFolder", R"({"path":"y"})"));
  for (int i = 0; i < 3000; ++i) {
    std::string body = good;
    for (uint32_t changes = 1 + random() % 3; changes > 0; --changes) {
      body[random() % body.size()] = static_cast<char>(random());
    }
    const absl::StatusOr<HubCommit> commit = Parsing().Parse(body, random);
    if (commit.ok()) continue;
    const std::string reason = ErrorReason(commit.status());
    EXPECT_TRUE(reason == "BAD_BODY" || reason == "BAD_PATH") << commit.status();
  }
}

}  // namespace
}  // namespace wdelta
