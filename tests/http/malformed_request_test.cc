// Bytes that are no request, or one that nobody should send: the server answers with an
// error or closes, and serves on.
#include <random>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "server/http/http_limits.h"
#include "tests/http/http_fixture.h"
#include "tests/support/test_seed.h"

namespace wdelta::testing {
namespace {

class MalformedRequestTest : public HttpTest {
 protected:
  // The status of the first answer; 0: the connection was closed without one.
  int StatusOf(const std::string& request) {
    const std::string answer = Raw(request);
    if (answer.empty()) return 0;
    EXPECT_TRUE(absl::StartsWith(answer, "HTTP/1.1 ")) << answer;
    return std::atoi(answer.c_str() + 9);
  }
};

TEST_F(MalformedRequestTest, BrokenRequestLines) {
  for (const char* const line :
       {"GET", "GET /", "GET / HTTP/9.9", "BREW / HTTP/1.1", "get / HTTP/1.1", "/ GET HTTP/1.1",
        "GET / / HTTP/1.1", "GET /?a?b HTTP/1.1", "\x16\x03\x01\x02"}) {
    EXPECT_EQ(StatusOf(absl::StrCat(line, "\r\n\r\n")), 400) << line;
  }
  EXPECT_EQ(StatusOf("\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET http://h/ HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("OPTIONS * HTTP/1.1\r\n\r\n"), 405);
  EXPECT_EQ(StatusOf("TRACE / HTTP/1.1\r\n\r\n"), 405);
  EXPECT_EQ(StatusOf("PATCH /healthz HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), 405);
  EXPECT_EQ(StatusOf("CONNECT h:1 HTTP/1.1\r\n\r\n"), 405);
}

TEST_F(MalformedRequestTest, BrokenHeaders) {
  EXPECT_EQ(StatusOf("GET /healthz HTTP/1.1\nHost: h\n\n"), 0);
  EXPECT_EQ(StatusOf("GET /healthz HTTP/1.1\r\nA: b\nC: d\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET /healthz HTTP/1.1\r\nA: b\rC: d\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf(std::string("GET /healthz HTTP/1.1\r\nA: \0\r\n\r\n", 31)), 400);
  EXPECT_EQ(StatusOf("GET /healthz HTTP/1.1\r\nHost: h"), 0);
  EXPECT_EQ(StatusOf("GET /healthz HTTP/1.1\r\nno colon\r\n\r\n"), 200);
}

TEST_F(MalformedRequestTest, HeadsAreBounded) {
  const std::string huge(2 * http_limits::kMaxHeadBytes, 'a');
  EXPECT_EQ(StatusOf(absl::StrCat("GET /", huge, " HTTP/1.1\r\n\r\n")), 431);
  EXPECT_EQ(StatusOf(absl::StrCat("GET / HTTP/1.1\r\nA: ", huge, "\r\n\r\n")), 431);
  EXPECT_EQ(StatusOf(huge), 431);
  std::string many = "GET / HTTP/1.1\r\n";
  for (int i = 0; i < http_limits::kMaxHeadLines; ++i) absl::StrAppend(&many, "A: b\r\n");
  EXPECT_EQ(StatusOf(many + "\r\n"), 431);
  const std::string long_target(http_limits::kMaxTargetBytes + 1, 'a');
  EXPECT_EQ(StatusOf(absl::StrCat("GET /", long_target, " HTTP/1.1\r\n\r\n")), 400);
  EXPECT_EQ(StatusOf(absl::StrCat("POST /", long_target, " HTTP/1.1\r\n\r\n")), 400);
}

TEST_F(MalformedRequestTest, RangesOfAnyLength) {
  Push("m", SmallCheckpoint(1));
  std::string ranges = "bytes=0-1";
  for (int i = 0; i < 600; ++i) absl::StrAppend(&ranges, ",", i, "-", i);
  EXPECT_EQ(StatusOf(absl::StrCat("GET /m/resolve/main/config.json HTTP/1.1\r\nRange: ", ranges,
                                  "\r\n\r\n")),
            200);
  EXPECT_EQ(StatusOf("GET /m/resolve/main/config.json HTTP/1.1\r\nrAnGe : bytes=1-2\r\n\r\n"), 206);
}

TEST_F(MalformedRequestTest, ABodyThatIsNotReadIsNoRequest) {
  const std::string hidden = "GET /healthz HTTP/1.1\r\n\r\n";
  for (const std::string& head :
       {absl::StrCat("GET /none HTTP/1.1\r\nContent-Length: ", hidden.size()),
        absl::StrCat("POST /none HTTP/1.1\r\nContent-Length: ", hidden.size()),
        std::string("GET /none HTTP/1.1\r\nTransfer-Encoding: chunked"),
        absl::StrCat("POST /none HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: ",
                     hidden.size())}) {
    const std::string answer = Raw(absl::StrCat(head, "\r\n\r\n", hidden));
    EXPECT_TRUE(absl::StartsWith(answer, "HTTP/1.1 404 ")) << head;
    EXPECT_FALSE(absl::StrContains(answer, "HTTP/1.1 200 ")) << head;
  }
}

// A client that is told that the connection stays must find it so.
TEST_F(MalformedRequestTest, ConnectionsThatWillBeClosedAreSaidToBe) {
  const std::string hidden = "GET /healthz HTTP/1.1\r\n\r\n";
  const std::string kept =
      Raw("GET /healthz HTTP/1.1\r\n\r\nPOST /api/validate-yaml HTTP/1.1\r\n"
          "Content-Length: 2\r\n\r\n{}GET /healthz HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  const std::vector<std::string> answers = absl::StrSplit(kept, "HTTP/1.1 200 ");
  EXPECT_EQ(answers.size(), 4U) << kept;
  EXPECT_TRUE(absl::StrContains(kept, "Keep-Alive: timeout=5, max=1000\r\n")) << kept;
  EXPECT_FALSE(absl::StrContains(kept, "Connection: close")) << kept;
  for (const std::string& head :
       {absl::StrCat("GET /healthz HTTP/1.1\r\nContent-Length: ", hidden.size()),
        absl::StrCat("HEAD /healthz HTTP/1.1\r\nContent-Length: ", hidden.size()),
        absl::StrCat("DELETE /healthz HTTP/1.1\r\nContent-Length: ", hidden.size()),
        absl::StrCat("GET /healthz HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: ",
                     hidden.size()),
        std::string("GET /healthz HTTP/1.1\r\nTransfer-Encoding: chunked")}) {
    const std::string answer = Raw(absl::StrCat(head, "\r\n\r\n", hidden));
    EXPECT_TRUE(absl::StrContains(answer, "Connection: close\r\n")) << answer;
    EXPECT_FALSE(absl::StrContains(answer, "Keep-Alive")) << answer;
    EXPECT_EQ(answer.rfind("HTTP/1.1 "), 0U) << answer;
  }
}

TEST_F(MalformedRequestTest, BrokenBodies) {
  Push("m", SmallCheckpoint(1));
  const std::string post = "POST /api/models/m/paths-info/main HTTP/1.1\r\n";
  EXPECT_EQ(StatusOf(post + "Content-Length: 10\r\n\r\npaths"), 400);
  EXPECT_EQ(StatusOf(post + "Content-Length: x\r\n\r\n"), 200);
  EXPECT_EQ(StatusOf(post + "Content-Length: 99999999999999999999999999\r\n\r\na"), 400);
  EXPECT_EQ(StatusOf(post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n"), 400);
  EXPECT_EQ(StatusOf(post + "Transfer-Encoding: chunked\r\n\r\n5\r\npaths"), 400);
  EXPECT_EQ(StatusOf(post + "Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd"), 400);
}

TEST_F(MalformedRequestTest, PipelinedRequestsAreAnsweredInOrder) {
  const std::string answer =
      Raw("GET /healthz HTTP/1.1\r\n\r\nGET /none HTTP/1.1\r\n\r\nHEAD /healthz HTTP/1.1\r\n\r\n");
  const size_t first = answer.find("HTTP/1.1 200 ");
  const size_t second = answer.find("HTTP/1.1 404 ");
  const size_t third = answer.rfind("HTTP/1.1 200 ");
  EXPECT_EQ(first, 0U);
  EXPECT_LT(first, second);
  EXPECT_LT(second, third);
}

TEST_F(MalformedRequestTest, RandomChangesOfRequestsLeaveTheServerUp) {
  Push("m", SmallCheckpoint(1));
  const uint32_t seed = TestSeed();
  SCOPED_TRACE(SeedTrace(seed));
  std::mt19937 random(seed);
  const std::vector<std::string> requests = {
      "GET /m/resolve/main/model.safetensors HTTP/1.1\r\nHost: h\r\nRange: bytes=5-60\r\n\r\n",
      "GET /api/models/m/tree/main?recursive=true&limit=1 HTTP/1.1\r\nHost: h\r\n\r\n",
      "POST /api/models/m/paths-info/main HTTP/1.1\r\nContent-Length: 7\r\n\r\npaths=a",
      "POST /api/models/m/paths-info/main HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
      "7\r\npaths=a\r\n0\r\n\r\n",
      "HEAD /m/resolve/main/config.json HTTP/1.1\r\nIf-None-Match: \"a\"\r\n\r\n",
  };
  for (int i = 0; i < 400; ++i) {
    std::string request = requests[random() % requests.size()];
    for (uint32_t changes = 1 + random() % 4; changes > 0; --changes) {
      const size_t at = random() % request.size();
      switch (random() % 4) {
        case 0:
          request[at] = static_cast<char>(random());
          break;
        case 1:
          request.erase(at, 1 + random() % 8);
          break;
        case 2:
          request.insert(at, request.substr(random() % request.size(), random() % 16));
          break;
        default:
          request.insert(at, 1, "\r\n\0%:"[random() % 5]);
      }
      if (request.empty()) request = "\r\n";
    }
    Raw(request);
  }
  EXPECT_EQ(Get("/healthz")->status, 200);
}

}  // namespace
}  // namespace wdelta::testing
