#include "server/http/hub_route.h"

#include <random>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/http/http_limits.h"
#include "storage/base/error.h"

namespace wdelta {
namespace {

using Kind = HubRoute::Kind;

// `repo|revision|path`, or the reason of the error.
std::string Parsed(const std::string& target, Kind kind) {
  const absl::StatusOr<HubRoute> route = ParseHubTarget(target);
  if (!route.ok()) return ErrorReason(route.status());
  EXPECT_EQ(route->kind, kind) << target;
  return absl::StrCat(route->repo, "|", route->revision, "|", route->path);
}

TEST(HubRoute, FilesOfRepositoriesWithAndWithoutNamespace) {
  EXPECT_EQ(Parsed("/m/resolve/main/a.txt", Kind::kResolve), "m|main|a.txt");
  EXPECT_EQ(Parsed("/n/m/resolve/v1/a/b/c.txt", Kind::kResolve), "n/m|v1|a/b/c.txt");
  EXPECT_EQ(Parsed("/n/m/resolve/refs%2Ftags%2Fv1/a%20b", Kind::kResolve), "n/m|refs/tags/v1|a b");
  EXPECT_EQ(Parsed("/n/m/resolve/main", Kind::kResolve), "n/m|main|");
  EXPECT_EQ(Parsed("/m/resolve/main/a+b", Kind::kResolve), "m|main|a+b");
  EXPECT_EQ(Parsed("/m/resolve/main/resolve/x", Kind::kResolve), "m|main|resolve/x");
}

TEST(HubRoute, ApiOfRepositories) {
  EXPECT_EQ(Parsed("/api/models/m", Kind::kInfo), "m|main|");
  EXPECT_EQ(Parsed("/api/models/n/m", Kind::kInfo), "n/m|main|");
  EXPECT_EQ(Parsed("/api/models/n/m/revision/v1", Kind::kInfo), "n/m|v1|");
  EXPECT_EQ(Parsed("/api/models/m/revision/refs%2Fheads%2Fmain", Kind::kInfo),
            "m|refs/heads/main|");
  EXPECT_EQ(Parsed("/api/models/n/m/tree/main", Kind::kTree), "n/m|main|");
  EXPECT_EQ(Parsed("/api/models/m/tree/main/", Kind::kTree), "m|main|");
  EXPECT_EQ(Parsed("/api/models/m/tree/main/a/b", Kind::kTree), "m|main|a/b");
  EXPECT_EQ(Parsed("/api/models/n/m/paths-info/main", Kind::kPathsInfo), "n/m|main|");
  EXPECT_EQ(Parsed("/api/models/m/refs", Kind::kRefs), "m|main|");
  EXPECT_EQ(Parsed("/api/whoami-v2", Kind::kWhoAmI), "|main|");
  EXPECT_EQ(Parsed("/healthz", Kind::kHealth), "|main|");
}

TEST(HubRoute, Uploads) {
  EXPECT_EQ(Parsed("/api/repos/create", Kind::kCreateRepo), "|main|");
  EXPECT_EQ(Parsed("/api/validate-yaml", Kind::kValidateYaml), "|main|");
  EXPECT_EQ(Parsed("/api/models/n/m/preupload/main", Kind::kPreupload), "n/m|main|");
  EXPECT_EQ(Parsed("/api/models/m/commit/dev", Kind::kCommit), "m|dev|");
  EXPECT_EQ(Parsed("/api/models/n/m/tag/v1", Kind::kTag), "n/m|v1|");
  EXPECT_EQ(Parsed("/api/models/n/m/branch/dev%2Fx", Kind::kBranch), "n/m|dev/x|");
  EXPECT_EQ(Parsed("/n/m.git/info/lfs/objects/batch", Kind::kLfsBatch), "n/m|main|");
  EXPECT_EQ(Parsed("/m.git/info/lfs/objects/abc?size=1", Kind::kLfsObject), "m|main|abc");
  EXPECT_EQ(Parsed("/m.git/info/lfs/verify", Kind::kLfsVerify), "m|main|");
  EXPECT_EQ(Parsed("/m.git/info/lfs/objects", Kind::kUnknown), "m|main|");
  EXPECT_EQ(Parsed("/m/info/lfs/objects/batch", Kind::kUnknown), "|main|");
}

TEST(HubRoute, AnythingElseIsUnknown) {
  for (const char* const target :
       {"/", "//", "/m", "/n/m", "/api", "/api/", "/api/models", "/api/models/a/b/c",
        "/api/models/m/refs/x", "/api/models/m/revision/a/b", "/api/datasets/m", "/a/b/c/resolve/d",
        "/resolve/main/x", "/healthz/x"}) {
    const absl::StatusOr<HubRoute> route = ParseHubTarget(target);
    ASSERT_TRUE(route.ok()) << target;
    EXPECT_EQ(route->kind, Kind::kUnknown) << target;
  }
}

TEST(HubRoute, DotsStayWhatTheyAre) {
  EXPECT_EQ(Parsed("/m/resolve/main/../../etc/passwd", Kind::kResolve), "m|main|../../etc/passwd");
  EXPECT_EQ(Parsed("/m/resolve/main/%2e%2e%2fpasswd", Kind::kResolve), "m|main|../passwd");
}

TEST(HubRoute, BrokenTargetsAreRefused) {
  for (const char* const target :
       {"", "m/resolve/main/a", "http://h/m", "/m/resolve/main/%", "/m/resolve/main/%1",
        "/m/resolve/main/%zz", "/m/resolve/main/%00", "/m/resolve/main/%0a", "/m/resolve/main/%ff",
        "/m?x=%"}) {
    EXPECT_EQ(Parsed(target, Kind::kUnknown), "BAD_TARGET") << target;
  }
  EXPECT_EQ(Parsed("/" + std::string(http_limits::kMaxTargetBytes, 'a'), Kind::kUnknown),
            "BAD_TARGET");
}

TEST(HubRoute, Queries) {
  const absl::StatusOr<HubRoute> route =
      ParseHubTarget("/api/models/m?recursive=True&expand=false&a=b%20c+d&e&&f=1=2");
  ASSERT_TRUE(route.ok());
  EXPECT_TRUE(route->IsTrue("recursive"));
  EXPECT_FALSE(route->IsTrue("expand"));
  EXPECT_FALSE(route->IsTrue("absent"));
  EXPECT_EQ(route->Query("a"), "b c d");
  EXPECT_EQ(route->Query("e"), "");
  EXPECT_EQ(route->Query("f"), "1=2");
}

TEST(HubRoute, EncodedPathsComeBack) {
  const std::string path = "a b/\xC3\xA9%+?#&=.txt";
  EXPECT_EQ(Parsed("/m/resolve/main/" + PercentEncode(path), Kind::kResolve), "m|main|" + path);
}

TEST(HubRoute, RandomTargetsNeverFailOtherwise) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const std::string letters = "/ab%2e.?&=+-resolve" + std::string("\0\n\xC3", 3);
  const std::vector<std::string> starts = {"", "/", "/api/models/", "/m/resolve/", "/api/"};
  for (int i = 0; i < 20'000; ++i) {
    std::string target = starts[random() % starts.size()];
    for (uint32_t n = random() % 40; n > 0; --n) target += letters[random() % letters.size()];
    const absl::StatusOr<HubRoute> route = ParseHubTarget(target);
    EXPECT_TRUE(route.ok() || ErrorReason(route.status()) == "BAD_TARGET") << route.status();
  }
}

}  // namespace
}  // namespace wdelta
