// Tokens and signed links of the Hub's routes.
#include "server/http/hub_access.h"

#include <filesystem>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "server/auth/auth_limits.h"
#include "spdlog/sinks/ostream_sink.h"
#include "storage/base/error.h"
#include "tests/http/hub_upload_fixture.h"
#include "tests/support/manual_clock.h"

namespace wdelta::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string TokenText(const std::string& name, const std::string& token,
                      const std::string& scopes) {
  return absl::StrCat("- name: ", name, "\n  sha256: ", Digest::Of(token).ToHex(), "\n  scopes: [",
                      scopes, "]\n");
}

std::unique_ptr<Authenticator> NewAuthenticator(const TempFolder& folder) {
  const auto entry = [](const std::string& name, const std::string& scopes) {
    return TokenText(name, "wd_" + name, scopes);
  };
  folder.Write("tokens", absl::StrCat(entry("reader", "read"), entry("writer", "read, write"),
                                      entry("admin", "admin"), entry("team", "read, write"),
                                      "  names: [team/]\n"));
  auto opened = Authenticator::Open(folder / "tokens");
  EXPECT_TRUE(opened.ok()) << opened.status();
  return *std::move(opened);
}

httplib::Headers As(const std::string& name) { return {{"Authorization", "Bearer wd_" + name}}; }

class HubAccessTest : public HubUploadTest {
 protected:
  HubAccessTest() : authenticator_(NewAuthenticator(tokens_)) {
    SetAuthenticator(authenticator_.get());
    StartServer(8);
    Push("n/m", SmallCheckpoint(1));
    Push("team/a", SmallCheckpoint(2));
  }
  // The server is older than what it asks.
  ~HubAccessTest() override { StopServer(); }

  std::string PostAs(const std::string& name, const std::string& target,
                     const nlohmann::json& body) {
    return StatusAndCode(NewClient()->Post(target, name.empty() ? httplib::Headers() : As(name),
                                           body.dump(), kJson));
  }
  // The target by which an object of these bytes is to be sent to n/m.
  std::string UploadTarget(const std::string& content) {
    const nlohmann::json batch = {
        {"objects", {{{"oid", Digest::Of(content).ToHex()}, {"size", content.size()}}}}};
    const auto answer =
        NewClient()->Post("/n/m.git/info/lfs/objects/batch", As("writer"), batch.dump(), kJson);
    EXPECT_EQ(StatusAndCode(answer), "200");
    const std::string href =
        nlohmann::json::parse(answer->body)["objects"][0]["actions"]["upload"]["href"];
    return href.substr(href.find("/n/m.git"));
  }
  std::string Put(const std::string& target, const std::string& content) {
    return StatusAndCode(NewClient()->Put(target, content, "application/octet-stream"));
  }

 private:
  const TempFolder tokens_;
  const std::unique_ptr<Authenticator> authenticator_;
};

TEST_F(HubAccessTest, ReadsNeedATokenThatReads) {
  for (const char* target :
       {"/n/m/resolve/main/model.safetensors", "/api/models/n/m", "/api/models/n/m/tree/main",
        "/api/models/n/m/refs", "/api/models/n/m/commits/main"}) {
    EXPECT_EQ(StatusAndCode(Get(target)), "401 TOKEN_MISSING") << target;
    EXPECT_EQ(StatusAndCode(Get(target, As("stranger"))), "401 TOKEN_UNKNOWN") << target;
    EXPECT_EQ(StatusAndCode(Get(target, As("admin"))), "403 SCOPE_MISSING") << target;
    EXPECT_EQ(StatusAndCode(Get(target, As("team"))), "403 NAME_NOT_ALLOWED") << target;
    EXPECT_EQ(StatusAndCode(Get(target, As("reader"))), "200") << target;
    EXPECT_EQ(StatusAndCode(Head(target, As("stranger"))), "401 TOKEN_UNKNOWN") << target;
  }
  EXPECT_EQ(StatusAndCode(Get("/team/a/resolve/main/model.safetensors", As("team"))), "200");
  // What does not exist is not told apart.
  EXPECT_EQ(StatusAndCode(Get("/api/models/n/none", As("team"))), "403 NAME_NOT_ALLOWED");
  EXPECT_EQ(PostAs("", "/api/models/n/m/paths-info/main", {{"paths", {"model.safetensors"}}}),
            "401 TOKEN_MISSING");
  EXPECT_EQ(PostAs("reader", "/api/models/n/m/paths-info/main", {{"paths", {"model.safetensors"}}}),
            "200");
}

TEST_F(HubAccessTest, ATagOfAnothersModelLeadsNowhere) {
  for (const auto& [tag, model] : {std::pair("gift", "n/m"), std::pair("own", "team/a")}) {
    ASSERT_TRUE(store().models().SetTag("team/a", tag, model, "").ok());
  }
  for (const char* target :
       {"/team/a/resolve/gift/model.safetensors", "/api/models/team/a/revision/gift",
        "/api/models/team/a/tree/gift", "/api/models/team/a/commits/gift"}) {
    EXPECT_EQ(StatusAndCode(Get(target, As("reader"))), "200") << target;
    const auto refused = Get(target, As("team"));
    EXPECT_EQ(StatusAndCode(refused), "404 RevisionNotFound") << target;
    EXPECT_THAT(refused->get_header_value("X-Error-Message"), Not(HasSubstr("n/m")));
    EXPECT_EQ(StatusAndCode(Get(absl::StrReplaceAll(target, {{"gift", "own"}}), As("team"))), "200")
        << target;
  }
  const nlohmann::json paths = {{"paths", {"model.safetensors"}}};
  EXPECT_EQ(PostAs("reader", "/api/models/team/a/paths-info/gift", paths), "200");
  EXPECT_EQ(PostAs("team", "/api/models/team/a/paths-info/gift", paths), "404 RevisionNotFound");
  EXPECT_EQ(PostAs("team", "/api/models/team/a/tag/gift", {{"tag", "mine"}}),
            "404 RevisionNotFound");
  EXPECT_EQ(PostAs("team", "/api/models/team/a/tag/own", {{"tag", "mine"}}), "200");
  EXPECT_THAT(Get("/api/models/team/a/refs", As("reader"))->body, HasSubstr("gift"));
  const auto refs = Get("/api/models/team/a/refs", As("team"));
  EXPECT_THAT(refs->body, AllOf(HasSubstr("own"), Not(HasSubstr("gift"))));
}

TEST_F(HubAccessTest, RefusalsSayWhy) {
  const auto missing = Get("/api/models/n/m");
  EXPECT_EQ(missing->get_header_value("WWW-Authenticate"), "Bearer");
  EXPECT_THAT(missing->get_header_value("X-Error-Message"), HasSubstr("Bearer TOKEN"));
  const auto unknown = Get("/api/models/n/m", As("stranger"));
  EXPECT_EQ(unknown->get_header_value("X-Error-Message"),
            "Invalid credentials in Authorization header");
  EXPECT_THAT(unknown->body, Not(HasSubstr("wd_stranger")));
  const auto denied = Get("/api/models/n/m", As("team"));
  EXPECT_THAT(denied->get_header_value("X-Error-Message"),
              AllOf(HasSubstr("team"), HasSubstr("n/m")));
}

TEST_F(HubAccessTest, HealthIsOpenAndWhoAmITellsTheToken) {
  EXPECT_EQ(StatusAndCode(Get("/healthz")), "200");
  EXPECT_EQ(StatusAndCode(Get("/nowhere")), "404 RouteNotFound");
  EXPECT_EQ(StatusAndCode(Get("/api/whoami-v2")), "401 TOKEN_MISSING");
  for (const auto& [name, role] : {std::pair("reader", "read"), std::pair("team", "write")}) {
    const auto answer = Get("/api/whoami-v2", As(name));
    ASSERT_EQ(StatusAndCode(answer), "200");
    const nlohmann::json who = nlohmann::json::parse(answer->body);
    EXPECT_EQ(who["name"], name);
    EXPECT_EQ(who["auth"]["accessToken"]["role"], role);
  }
}

TEST_F(HubAccessTest, WritesNeedATokenThatWrites) {
  const nlohmann::json files = {{"files", {{{"path", "a"}, {"size", 1}}}}};
  for (const auto& [target, body] : std::vector<std::pair<std::string, nlohmann::json>>{
           {"/api/models/n/m/preupload/main", files},
           {"/n/m.git/info/lfs/objects/batch", {{"objects", nlohmann::json::array()}}},
           {"/api/models/n/m/tag/main", {{"tag", "t"}}},
           {"/api/models/n/m/commit/main", {{"key", "header"}, {"value", {{"summary", "s"}}}}}}) {
    EXPECT_EQ(PostAs("", target, body), "401 TOKEN_MISSING") << target;
    EXPECT_EQ(PostAs("reader", target, body), "403 SCOPE_MISSING") << target;
    EXPECT_EQ(PostAs("team", target, body), "403 NAME_NOT_ALLOWED") << target;
    EXPECT_EQ(PostAs("writer", target, body), "200") << target;
  }
  const auto removed = NewClient()->Delete("/api/models/n/m/tag/t", As("reader"));
  EXPECT_EQ(StatusAndCode(removed), "403 SCOPE_MISSING");
}

TEST_F(HubAccessTest, ANewRepositoryIsOfAnAllowedName) {
  EXPECT_EQ(PostAs("reader", "/api/repos/create", {{"name", "x"}}), "403 SCOPE_MISSING");
  EXPECT_EQ(PostAs("team", "/api/repos/create", {{"name", "x"}}), "403 NAME_NOT_ALLOWED");
  EXPECT_EQ(PostAs("team", "/api/repos/create", {{"name", "x"}, {"organization", "team"}}), "200");
}

TEST_F(HubAccessTest, TagsTellTheTokenThatMadeThem) {
  EXPECT_EQ(PostAs("writer", "/api/models/n/m/tag/main", {{"tag", "t"}}), "200");
  const auto history = store().models().TagHistory("n/m", "t", 0, 10);
  ASSERT_TRUE(history.ok()) << history.status();
  EXPECT_EQ((*history)[0].record.author(), "writer");
}

TEST_F(HubAccessTest, ObjectsAreSentBySignedLinks) {
  const std::string content = "what is sent";
  const std::string target = UploadTarget(content);
  ASSERT_THAT(target, AllOf(HasSubstr("&token=writer&expires="), HasSubstr("&signature=")));
  const std::string unsigned_target = target.substr(0, target.find("&token"));
  EXPECT_EQ(Put(unsigned_target, content), "401 TOKEN_MISSING");
  std::string changed = target;
  changed.back() = changed.back() == '0' ? '1' : '0';
  EXPECT_EQ(Put(changed, content), "403 BAD_SIGNATURE");
  EXPECT_EQ(Put(absl::StrReplaceAll(target, {{"token=writer", "token=reader"}}), content),
            "403 BAD_SIGNATURE");
  EXPECT_EQ(Put(absl::StrReplaceAll(target, {{"/n/m.git", "/n/x.git"}}), content),
            "403 BAD_SIGNATURE");
  EXPECT_EQ(Put(absl::StrReplaceAll(target, {{"size=12", "size=13"}}), content + "!"),
            "403 BAD_SIGNATURE");
  EXPECT_EQ(Put(absl::StrReplaceAll(target, {{"expires=", "expires=9"}}), content),
            "403 BAD_SIGNATURE");
  const std::string oid = Digest::Of(content).ToHex();
  EXPECT_EQ(Put(absl::StrReplaceAll(target, {{oid, Digest::Of("else").ToHex()}}), content),
            "403 BAD_SIGNATURE");
  EXPECT_EQ(IncomingFiles(), 0u);
  EXPECT_EQ(Put(target, content), "200");
  EXPECT_EQ(IncomingFiles(), 1u);
  // A later server has another key.
  StartServer(8);
  EXPECT_EQ(Put(target, content), "403 BAD_SIGNATURE");
}

TEST_F(HubAccessTest, WhatIsWrittenHasALineInTheAuditLog) {
  std::ostringstream text;
  auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(text);
  sink->set_pattern("%v");
  log().sinks().push_back(sink);
  EXPECT_EQ(PostAs("writer", "/api/models/n/m/tag/main", {{"tag", "t"}}), "200");
  EXPECT_EQ(PostAs("team", "/api/repos/create", {{"name", "x"}}), "403 NAME_NOT_ALLOWED");
  EXPECT_EQ(PostAs("reader", "/api/models/n/m/tag/main", {{"tag", "t"}}), "403 SCOPE_MISSING");
  EXPECT_EQ(PostAs("team", "/api/models/n/m/tag/main", {{"tag", "t"}}), "403 NAME_NOT_ALLOWED");
  EXPECT_EQ(PostAs("", "/api/models/n/m/commit/main", {{"key", "header"}}), "401 TOKEN_MISSING");
  EXPECT_EQ(StatusAndCode(Get("/api/models/n/m", As("reader"))), "200");
  StopServer();
  log().sinks().pop_back();
  EXPECT_THAT(text.str(), HasSubstr("audit: token writer Hub.Tag POST n/m,main: 200, request "));
  EXPECT_THAT(text.str(), HasSubstr("audit: token team Hub.CreateRepo POST x: NAME_NOT_ALLOWED"));
  EXPECT_THAT(text.str(), HasSubstr("audit: token - Hub.Commit POST n/m: TOKEN_MISSING, request "));
  // Who is refused is told too, and reads are not.
  EXPECT_THAT(text.str(), HasSubstr("audit: token reader Hub.Tag POST n/m,main: SCOPE_MISSING"));
  EXPECT_THAT(text.str(), HasSubstr("audit: token team Hub.Tag POST n/m,main: NAME_NOT_ALLOWED"));
  EXPECT_THAT(text.str(), Not(HasSubstr("GET")));
  EXPECT_THAT(text.str(), Not(HasSubstr("wd_")));
}

class HubLinkTest : public ::testing::Test {
 protected:
  HubLinkTest()
      : authenticator_(NewAuthenticator(tokens_)),
        access_(authenticator_.get(), *LinkSigner::Create(), &clock_) {}

  HubCaller NewWriter() const {
    return {.identity = *authenticator_->Authenticate("Bearer wd_writer")};
  }
  std::string NewQuery(const HubAccess& access) const { return NewQuery(access, NewWriter()); }
  static std::string NewQuery(const HubAccess& access, const HubCaller& writer) {
    return access.ObjectQuery(writer, "n/m", {Digest::Of("x"), 1});
  }
  // These tokens alone are in force.
  void Replace(const std::string& tokens) {
    tokens_.Write("next", tokens);
    std::filesystem::rename(tokens_ / "next", tokens_ / "tokens");
    const absl::StatusOr<bool> reloaded = authenticator_->ReloadIfChanged();
    EXPECT_TRUE(reloaded.ok() && *reloaded) << reloaded.status();
  }
  std::string CheckPut(const std::string& query) {
    const auto route = ParseHubTarget(
        absl::StrCat("/n/m.git/info/lfs/objects/", Digest::Of("x").ToHex(), "?", query));
    EXPECT_TRUE(route.ok()) << route.status();
    httplib::Request request;
    request.method = "PUT";
    checked_ = HubCaller();
    const absl::Status status = access_.Check(*route, request, checked_);
    return status.ok() ? "OK" : ErrorReason(status);
  }

  const TempFolder tokens_;
  const std::unique_ptr<Authenticator> authenticator_;
  ManualClock clock_;
  const HubAccess access_;
  HubCaller checked_;  // by the last CheckPut
};

TEST_F(HubLinkTest, WhoIsRefusedIsKnownOnceTheLinkProvesIt) {
  const std::string query = NewQuery(access_);
  EXPECT_EQ(CheckPut("size=1"), "TOKEN_MISSING");
  EXPECT_EQ(checked_.identity, nullptr);
  EXPECT_EQ(CheckPut(absl::StrReplaceAll(query, {{"size=1", "size=2"}})), "BAD_SIGNATURE");
  EXPECT_EQ(checked_.identity, nullptr);
  clock_.Advance(absl::Seconds(auth_limits::kSignedLinkSeconds));
  EXPECT_EQ(CheckPut(query), "LINK_EXPIRED");
  ASSERT_NE(checked_.identity, nullptr);
  EXPECT_EQ(checked_.identity->name, "writer");
  Replace(TokenText("writer", "wd_writer", "read"));
  EXPECT_EQ(CheckPut(NewQuery(access_)), "SCOPE_MISSING");
  ASSERT_NE(checked_.identity, nullptr);
}

// While the body of the request is read, say.
TEST_F(HubLinkTest, ALinkIsOfTheTokenThatCameWithTheRequest) {
  const HubCaller writer = NewWriter();
  Replace(TokenText("writer", "wd_new", "read, write"));
  EXPECT_EQ(CheckPut(NewQuery(access_, writer)), "BAD_SIGNATURE");
  Replace(TokenText("writer", "wd_writer", "read, write"));
  EXPECT_EQ(CheckPut(NewQuery(access_, writer)), "OK");
}

TEST_F(HubLinkTest, ALinkExpires) {
  const std::string query = NewQuery(access_);
  EXPECT_EQ(CheckPut(query), "OK");
  clock_.Advance(absl::Seconds(auth_limits::kSignedLinkSeconds - 1));
  EXPECT_EQ(CheckPut(query), "OK");
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(CheckPut(query), "LINK_EXPIRED");
  EXPECT_EQ(CheckPut(NewQuery(access_)), "OK");
}

TEST_F(HubLinkTest, ALinkEndsWithTheTokenThatItWasGivenTo) {
  const std::string query = NewQuery(access_);
  const std::string other = TokenText("other", "wd_other", "read, write");
  const std::string writer = TokenText("writer", "wd_writer", "read, write");
  Replace(other + writer);
  EXPECT_EQ(CheckPut(query), "OK");
  Replace(other);
  EXPECT_EQ(CheckPut(query), "BAD_SIGNATURE");
  EXPECT_EQ(CheckPut(absl::StrReplaceAll(query, {{"token=writer", "token=other"}})),
            "BAD_SIGNATURE");
  // The name is given to another token, what it may do is less, or of other models.
  Replace(TokenText("writer", "wd_new", "read, write"));
  EXPECT_EQ(CheckPut(query), "BAD_SIGNATURE");
  Replace(TokenText("writer", "wd_writer", "read"));
  EXPECT_EQ(CheckPut(query), "SCOPE_MISSING");
  Replace(writer + "  names: [team/]\n");
  EXPECT_EQ(CheckPut(query), "NAME_NOT_ALLOWED");
}

TEST_F(HubLinkTest, WithoutTokensLinksAreNotSigned) {
  const HubAccess open(nullptr, *LinkSigner::Create(), &clock_);
  EXPECT_EQ(open.ObjectQuery({}, "n/m", {Digest::Of("x"), 7}), "size=7");
}

}  // namespace
}  // namespace wdelta::testing
