// Tokens and TLS with the real binaries.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "httplib.h"
#include "tests/e2e/daemon.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_certificates.h"

namespace wdelta::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class AuthTest : public ::testing::Test {
 protected:
  AuthTest() {
    for (const auto& [path, bytes] : SmallCheckpoint(1)) folder_.Write("model/" + path, bytes);
  }

  struct NewToken {
    std::string token;
    std::string entry;
  };
  // As `wdelta token` makes it; the token also lies in the file NAME.
  NewToken MakeToken(const std::string& name, const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {WDELTA_FILE, "token", name};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const CommandResult made = RunCommand(arguments);
    EXPECT_EQ(made.exit_code, 0) << made.err;
    const size_t end = made.out.find("\n\n");
    EXPECT_NE(end, std::string::npos) << made.out;
    NewToken result{made.out.substr(0, end), made.out.substr(end + 2)};
    folder_.Write(name, result.token + "\n");
    return result;
  }
  // In one step, as files that are watched should be.
  void Replace(const std::string& name, const std::string& text) const {
    folder_.Write("next", text);
    std::filesystem::rename(folder_ / "next", folder_ / name);
  }
  std::string DataDir() const { return folder_ / "data"; }
  std::string TokenFile(const std::string& name) const {
    return "--token-file=" + (folder_ / name);
  }

  const TempFolder folder_;
};

TEST_F(AuthTest, OnlyTokensOpenTheDoor) {
  const NewToken ci = MakeToken("ci", {"--scope", "read", "--scope", "write", "--names", "run-"});
  folder_.Write("tokens", ci.entry);
  Daemon daemon(DataDir(), {"--tokens_file=" + (folder_ / "tokens"), "--http_listen=127.0.0.1:0"});
  const CommandResult stranger = daemon.Wdelta({"ls"});
  EXPECT_EQ(stranger.exit_code, 11);
  EXPECT_THAT(stranger.err, HasSubstr("TOKEN_MISSING"));
  EXPECT_EQ(HealthOf(*daemon.NewChannel(), ""), "SERVING");

  const std::string token = TokenFile("ci");
  daemon.WdeltaOk({"push", folder_ / "model", "--name", "run-a", "--wait", token});
  daemon.WdeltaOk({"pull", "run-a", folder_ / "pulled", token});
  for (const auto& [path, bytes] : SmallCheckpoint(1)) {
    EXPECT_TRUE(folder_.Read("pulled/" + path) == bytes) << path;
  }
  EXPECT_THAT(daemon.WdeltaOk({"ls", token}), HasSubstr("run-a"));
  const CommandResult elsewhere =
      daemon.Wdelta({"push", folder_ / "model", "--name", "other", token});
  EXPECT_THAT(elsewhere.err, HasSubstr("NAME_NOT_ALLOWED"));
  EXPECT_THAT(daemon.Wdelta({"gc", token}).err, HasSubstr("SCOPE_MISSING"));

  std::vector<std::string> addresses(2);
  std::ifstream file(DataDir() + ".address");
  for (std::string& address : addresses) std::getline(file, address);
  httplib::Client hub(addresses[1]);
  const auto refused = hub.Get("/api/models/run-a");
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->status, 401);
  const auto allowed =
      hub.Get("/api/models/run-a", httplib::Headers{{"Authorization", "Bearer " + ci.token}});
  ASSERT_TRUE(allowed);
  EXPECT_EQ(allowed->status, 200);

  EXPECT_EQ(daemon.Stop(), 0);
  EXPECT_THAT(daemon.process().output(),
              AllOf(HasSubstr("audit: token ci Uploads.StartUpload run-a"),
                    HasSubstr("audit: token ci Uploads.StartUpload other: NAME_NOT_ALLOWED"),
                    Not(HasSubstr(ci.token))));
}

TEST_F(AuthTest, ChangedTokensTakeEffect) {
  const NewToken first = MakeToken("first", {"--scope", "read"});
  const NewToken second = MakeToken("second", {"--scope", "read"});
  folder_.Write("tokens", first.entry);
  Daemon daemon(DataDir(), {"--tokens_file=" + (folder_ / "tokens")});
  daemon.WdeltaOk({"ls", TokenFile("first")});
  Replace("tokens", second.entry);
  ASSERT_TRUE(daemon.process().ReadUntil("read again, 1 tokens"));
  EXPECT_THAT(daemon.Wdelta({"ls", TokenFile("first")}).err, HasSubstr("TOKEN_UNKNOWN"));
  daemon.WdeltaOk({"ls", TokenFile("second")});
  Replace("tokens", second.entry + "- name: broken\n");
  ASSERT_TRUE(daemon.process().ReadUntil("entry 2 ('broken'): sha256"));
  EXPECT_THAT(daemon.process().output(), HasSubstr("the earlier one stays in force"));
  daemon.WdeltaOk({"ls", TokenFile("second")});
}

TEST_F(AuthTest, ABadFileKeepsTheDaemonFromStarting) {
  folder_.Write("tokens", "- {name: a, scopes: [read]}\n");
  const std::string flag = "--tokens_file=" + (folder_ / "tokens");
  const CommandResult started = RunDaemon(DataDir(), {flag, "--listen=127.0.0.1:0"});
  EXPECT_EQ(started.exit_code, 1);
  EXPECT_THAT(started.err, AllOf(HasSubstr(folder_ / "tokens"), HasSubstr("('a'): sha256")));
  const CommandResult validated = RunDaemon(DataDir(), {flag, "--validate_config"});
  EXPECT_EQ(validated.exit_code, 2);
  EXPECT_THAT(validated.err, HasSubstr("('a'): sha256"));
}

class TlsTest : public AuthTest {
 protected:
  TlsTest() { WriteServerFiles("ca.pem"); }

  // A server's certificate of a new authority, whose own goes to the file `ca`.
  void WriteServerFiles(const std::string& ca) {
    authority_ = NewAuthority("authority");
    const TestCertificate server = NewCertificate("server", authority_);
    Replace(ca, authority_.certificate);
    Replace("server.key", server.key);
    Replace("server.pem", server.certificate);
  }
  std::vector<std::string> ServerFlags() const {
    return {"--tls_certificate=" + (folder_ / "server.pem"),
            "--tls_key=" + (folder_ / "server.key")};
  }
  std::string Ca(const std::string& file = "ca.pem") const {
    return "--tls-ca=" + (folder_ / file);
  }

  TestCertificate authority_;
};

TEST_F(TlsTest, OnlyEncryptedCallsAreServed) {
  const NewToken all = MakeToken("all", {"--scope", "read", "--scope", "write"});
  folder_.Write("tokens", all.entry);
  std::vector<std::string> flags = ServerFlags();
  flags.push_back("--tokens_file=" + (folder_ / "tokens"));
  Daemon daemon(DataDir(), flags);
  daemon.WdeltaOk({"push", folder_ / "model", "--name", "m", Ca(), TokenFile("all")});
  daemon.WdeltaOk({"pull", "m", folder_ / "pulled", Ca(), TokenFile("all")});
  EXPECT_THAT(daemon.Wdelta({"ls", Ca()}).err, HasSubstr("TOKEN_MISSING"));
  EXPECT_EQ(daemon.Wdelta({"ls", TokenFile("all")}).exit_code, 6);
  folder_.Write("stranger.pem", NewAuthority("stranger").certificate);
  EXPECT_EQ(daemon.Wdelta({"ls", Ca("stranger.pem"), TokenFile("all")}).exit_code, 6);
}

TEST_F(TlsTest, ClientsShowTheirCertificatesWhereAsked) {
  std::vector<std::string> flags = ServerFlags();
  flags.push_back("--tls_client_ca=" + (folder_ / "ca.pem"));
  const Daemon daemon(DataDir(), flags);
  const TestCertificate client = NewCertificate("client", authority_);
  const TestCertificate stranger = NewCertificate("stranger", NewAuthority("other"));
  folder_.Write("client.pem", client.certificate);
  folder_.Write("client.key", client.key);
  folder_.Write("stranger.pem", stranger.certificate);
  folder_.Write("stranger.key", stranger.key);
  const auto as = [&](const std::string& name) -> std::vector<std::string> {
    return {"ls", Ca(), "--tls-certificate=" + (folder_ / (name + ".pem")),
            "--tls-key=" + (folder_ / (name + ".key"))};
  };
  daemon.WdeltaOk(as("client"));
  EXPECT_EQ(daemon.Wdelta(as("stranger")).exit_code, 6);
  EXPECT_EQ(daemon.Wdelta({"ls", Ca()}).exit_code, 6);
}

TEST_F(TlsTest, ChangedCertificatesTakeEffect) {
  const Daemon daemon(DataDir(), ServerFlags());
  daemon.WdeltaOk({"ls", Ca()});
  WriteServerFiles("new-ca.pem");
  const absl::Time deadline = absl::Now() + absl::Seconds(60);
  CommandResult result;
  do {
    result = daemon.Wdelta({"ls", Ca("new-ca.pem")});
  } while (result.exit_code != 0 && absl::Now() < deadline);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(daemon.Wdelta({"ls", Ca()}).exit_code, 6);
}

TEST_F(TlsTest, OtherPortsAskClientsForCertificatesToo) {
  const std::string certificate = folder_ / "server.pem";
  const std::string key = folder_ / "server.key";
  const std::string ca = folder_ / "ca.pem";
  const CommandResult alone =
      RunDaemon(DataDir(), {"--http_tls_client_ca=" + ca, "--validate_config"});
  EXPECT_THAT(alone.err, HasSubstr("http_tls_client_ca: expected with http_tls_certificate"));
  const Daemon daemon(
      DataDir(), {"--http_listen=127.0.0.1:0", "--http_tls_certificate=" + certificate,
                  "--http_tls_key=" + key, "--http_tls_client_ca=" + ca,
                  "--operations_listen=127.0.0.1:0", "--operations_tls_certificate=" + certificate,
                  "--operations_tls_key=" + key, "--operations_tls_client_ca=" + ca});
  std::vector<std::string> addresses(3);
  std::ifstream file(DataDir() + ".address");
  for (std::string& address : addresses) std::getline(file, address);
  const TestCertificate client = NewCertificate("client", authority_);
  folder_.Write("client.pem", client.certificate);
  folder_.Write("client.key", client.key);
  const std::string operations = addresses[2].substr(std::string("operations ").size());
  for (const auto& [url, target] :
       {std::pair(addresses[1], "/healthz"), std::pair(operations, "/livez")}) {
    httplib::Client with(url, folder_ / "client.pem", folder_ / "client.key");
    httplib::Client without(url);
    for (httplib::Client* const each : {&with, &without}) {
      each->set_ca_cert_path(ca.c_str());
      each->enable_server_certificate_verification(true);
    }
    const httplib::Result answer = with.Get(target);
    ASSERT_TRUE(answer) << url << ": " << httplib::to_string(answer.error());
    EXPECT_EQ(answer->status, 200) << url;
    EXPECT_FALSE(without.Get(target)) << url;
  }
}

TEST_F(TlsTest, OtherPortsSpeakTlsToo) {
  const NewToken all = MakeToken("all", {"--scope", "read"});
  folder_.Write("tokens", all.entry);
  const std::string certificate = folder_ / "server.pem";
  const std::string key = folder_ / "server.key";
  Daemon daemon(DataDir(),
                {"--http_listen=127.0.0.1:0", "--http_tls_certificate=" + certificate,
                 "--http_tls_key=" + key, "--operations_listen=127.0.0.1:0",
                 "--operations_tls_certificate=" + certificate, "--operations_tls_key=" + key,
                 "--tokens_file=" + (folder_ / "tokens")});
  std::vector<std::string> addresses(3);
  std::ifstream file(DataDir() + ".address");
  for (std::string& address : addresses) std::getline(file, address);
  EXPECT_THAT(addresses[1], StartsWith("https://127.0.0.1:"));
  EXPECT_THAT(addresses[2], StartsWith("operations https://127.0.0.1:"));
  const auto get = [&](const std::string& url, const std::string& target, const std::string& ca) {
    httplib::Client client(url);
    client.set_ca_cert_path((folder_ / ca).c_str());
    client.enable_server_certificate_verification(true);
    const auto answer =
        client.Get(target, httplib::Headers{{"Authorization", "Bearer " + all.token}});
    return answer ? absl::StrCat(answer->status) : httplib::to_string(answer.error());
  };
  const std::string operations = addresses[2].substr(std::string("operations ").size());
  EXPECT_EQ(get(addresses[1], "/api/whoami-v2", "ca.pem"), "200");
  EXPECT_EQ(get(operations, "/livez", "ca.pem"), "200");
  WriteServerFiles("new-ca.pem");
  EXPECT_TRUE(daemon.process().ReadUntil("http_tls_certificate: read again"));
  EXPECT_EQ(get(addresses[1], "/api/whoami-v2", "new-ca.pem"), "200");
  EXPECT_NE(get(addresses[1], "/api/whoami-v2", "ca.pem"), "200");
}

}  // namespace
}  // namespace wdelta::testing
