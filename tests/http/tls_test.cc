// The Hub's port over TLS.
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "server/http/http_limits.h"
#include "server/http/tls_certificate.h"
#include "tests/http/hub_upload_fixture.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_certificates.h"

namespace wdelta::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr int kSilentPeers = 100;
constexpr absl::Duration kMaxDelay = absl::Milliseconds(http_limits::kIdleTimeoutMs * 2 / 5);
// A record of the handshake, and of it the first bytes of a greeting that goes on.
const std::string kBegunGreeting("\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03", 11);

class TlsTest : public HubUploadTest {
 protected:
  TlsTest() {
    WriteFiles("ca.pem");
    auto opened = TlsCertificate::Open({"http_tls_certificate", folder_ / "server.pem"},
                                       {"http_tls_key", folder_ / "server.key"});
    EXPECT_TRUE(opened.ok()) << opened.status();
    certificate_ = *std::move(opened);
    SetTls(certificate_.get());
    StartServer(8);
  }
  ~TlsTest() override { StopServer(); }

  // A server's certificate of a new authority, whose own goes to the file `ca`.
  void WriteFiles(const std::string& ca) {
    const TestCertificate authority = NewAuthority("authority");
    const TestCertificate server = NewCertificate("server", authority);
    folder_.Write(ca, authority.certificate);
    folder_.Write("server.pem", server.certificate);
    folder_.Write("server.key", server.key);
  }
  std::unique_ptr<httplib::SSLClient> NewTlsClient(const std::string& ca = "ca.pem") const {
    auto client = std::make_unique<httplib::SSLClient>("localhost", port());
    client->set_ca_cert_path((folder_ / ca).c_str());
    client->enable_server_certificate_verification(true);
    client->set_keep_alive(true);
    client->set_read_timeout(60);
    client->set_url_encode(false);
    return client;
  }
  absl::Duration TimeOfARequest() {
    const absl::Time begin = absl::Now();
    EXPECT_EQ(StatusAndCode(NewTlsClient()->Get("/healthz")), "200");
    return absl::Now() - begin;
  }

  const TempFolder folder_;
  std::unique_ptr<TlsCertificate> certificate_;
};

TEST_F(TlsTest, FilesComeAndGoAsTheyAre) {
  // More than sockets and buffers hold, in both directions.
  const std::string weights = BuildSafetensors({RandomWeights("w", {2048, 2048}, 1)});
  const auto client = NewTlsClient();
  const std::string oid = Digest::Of(weights).ToHex();
  ASSERT_EQ(StatusAndCode(client->Put(
                absl::StrCat("/n/m.git/info/lfs/objects/", oid, "?size=", weights.size()), weights,
                "application/octet-stream")),
            "200");
  const std::string body =
      nlohmann::json({{"key", "header"}, {"value", {{"summary", "s"}}}}).dump() + "\n" +
      Lfs("model.safetensors", weights).dump() + "\n";
  const httplib::Result commit = client->Post("/api/models/n/m/commit/main", body, kLines);
  ASSERT_EQ(StatusAndCode(commit), "200");
  EXPECT_THAT(nlohmann::json::parse(commit->body)["commitUrl"].get<std::string>(),
              StartsWith("https://localhost:"));
  for (int i = 0; i < 2; ++i) {
    const httplib::Result all = client->Get("/n/m/resolve/main/model.safetensors");
    ASSERT_EQ(StatusAndCode(all), "200");
    EXPECT_TRUE(all->body == weights);
    const httplib::Result part =
        client->Get("/n/m/resolve/main/model.safetensors", {{"Range", "bytes=1000-1999"}});
    ASSERT_EQ(StatusAndCode(part), "206");
    EXPECT_TRUE(part->body == weights.substr(1000, 1000));
    RunJobs();
  }
}

TEST_F(TlsTest, LinksSayHttps) {
  const httplib::Result batch = NewTlsClient()->Post(
      "/n/m.git/info/lfs/objects/batch",
      nlohmann::json({{"operation", "upload"},
                      {"objects", {{{"oid", Digest::Of("abc").ToHex()}, {"size", 3}}}}})
          .dump(),
      kJson);
  ASSERT_EQ(StatusAndCode(batch), "200");
  const auto actions = nlohmann::json::parse(batch->body)["objects"][0]["actions"];
  const std::string base = absl::StrCat("https://localhost:", port(), "/");
  EXPECT_THAT(actions["upload"]["href"].get<std::string>(), StartsWith(base));
  EXPECT_THAT(actions["verify"]["href"].get<std::string>(), StartsWith(base));
}

// Nor does a client tell a plain server that it is encrypted.
TEST_F(TlsTest, OnlyTheServerSaysWhatIsEncrypted) {
  StopServer();
  SetTls(nullptr);
  StartServer(8);
  const httplib::Result created = NewClient()->Post(
      "/api/repos/create", {{"X-Wdelta-Encrypted", "1"}}, R"({"name": "m"})", kJson);
  ASSERT_EQ(StatusAndCode(created), "200");
  EXPECT_THAT(created->body, HasSubstr("\"http://"));
}

TEST_F(TlsTest, StrangersCertificatesAndPlainRequestsAreRefused) {
  folder_.Write("stranger.pem", NewAuthority("stranger").certificate);
  EXPECT_FALSE(NewTlsClient("stranger.pem")->Get("/healthz"));
  const std::string answer = Raw("GET /healthz HTTP/1.1\r\n\r\n");
  EXPECT_FALSE(absl::StartsWith(answer, "HTTP/")) << answer;
  EXPECT_EQ(StatusAndCode(NewTlsClient()->Get("/healthz")), "200");
}

TEST_F(TlsTest, HandshakesThatDoNotEndTakeNoThread) {
  for (const std::string& begun : {std::string(), kBegunGreeting}) {
    std::vector<std::unique_ptr<RawConnection>> silent;
    for (int i = 0; i < kSilentPeers; ++i) {
      silent.push_back(std::make_unique<RawConnection>(port()));
      EXPECT_TRUE(silent.back()->Send(begun));
    }
    EXPECT_LT(TimeOfARequest(), kMaxDelay);
  }
}

TEST_F(TlsTest, AHandshakeThatDoesNotEndIsCut) {
  const RawConnection begun(port());
  EXPECT_TRUE(begun.Send(kBegunGreeting));
  // Not before its time, nor never.
  EXPECT_THAT(begun.Receive(), IsEmpty());
}

TEST_F(TlsTest, APeerThatDoesNotReadIsCut) {
  Stage("large", {{"model.safetensors", BuildSafetensors({RandomWeights("w", {4096, 4096}, 1)})}});
  StartServer(8, {absl::Milliseconds(100), 1});
  const auto client = NewTlsClient();
  uint64_t received = 0;
  const httplib::Result cut =
      client->Get("/large/resolve/main/model.safetensors", [&](const char*, size_t size) {
        // Until the server has given up.
        if (received == 0) {
          EXPECT_EQ(StatusAndCode(NewTlsClient()->Get("/healthz")), "200");
        }
        received += size;
        while (fetches().taken() > 0) std::this_thread::yield();
        return true;
      });
  EXPECT_FALSE(cut);
  EXPECT_LT(received, uint64_t{2} * 4096 * 4096);
}

class ClientCertificateTest : public TlsTest {
 protected:
  ClientCertificateTest() {
    StopServer();
    const TestCertificate authority = NewAuthority("clients");
    folder_.Write("clients.pem", authority.certificate);
    WriteClient("client", NewCertificate("client", authority));
    WriteClient("stranger", NewCertificate("stranger", NewAuthority("strangers")));
    auto opened = TlsCertificate::Open({"http_tls_certificate", folder_ / "server.pem"},
                                       {"http_tls_key", folder_ / "server.key"},
                                       {"http_tls_client_ca", folder_ / "clients.pem"});
    EXPECT_TRUE(opened.ok()) << opened.status();
    asking_ = *std::move(opened);
    SetTls(asking_.get());
    StartServer(8);
  }
  ~ClientCertificateTest() override { StopServer(); }

  void WriteClient(const std::string& name, const TestCertificate& made) {
    folder_.Write(name + ".pem", made.certificate);
    folder_.Write(name + ".key", made.key);
  }
  std::string GetAs(const std::string& name) const {
    httplib::SSLClient client("localhost", port(), folder_ / (name + ".pem"),
                              folder_ / (name + ".key"));
    client.set_ca_cert_path((folder_ / "ca.pem").c_str());
    client.enable_server_certificate_verification(true);
    const httplib::Result answer = client.Get("/healthz");
    return answer ? StatusAndCode(answer) : "none";
  }

  std::unique_ptr<TlsCertificate> asking_;
};

TEST_F(ClientCertificateTest, OnlyThoseOfTheAuthorityAreServed) {
  for (int i = 0; i < 2; ++i) EXPECT_EQ(GetAs("client"), "200");
  EXPECT_EQ(GetAs("stranger"), "none");
  EXPECT_FALSE(NewTlsClient()->Get("/healthz"));
}

// As by the gRPC port, which takes the same file.
TEST_F(ClientCertificateTest, AnIntermediateAuthorityWillDo) {
  const TestCertificate root = NewAuthority("root");
  const TestCertificate intermediate = NewIntermediate("intermediate", root);
  WriteClient("of-intermediate", NewCertificate("of-intermediate", intermediate));
  WriteClient("of-root", NewCertificate("of-root", root));
  folder_.Write("clients.pem", intermediate.certificate);
  EXPECT_TRUE(*asking_->ReloadIfChanged());
  EXPECT_EQ(GetAs("of-intermediate"), "200");
  EXPECT_EQ(GetAs("of-root"), "none");
}

TEST_F(ClientCertificateTest, AnotherAuthorityIsTaken) {
  const TestCertificate authority = NewAuthority("new clients");
  WriteClient("new", NewCertificate("new", authority));
  folder_.Write("clients.pem", authority.certificate);
  EXPECT_EQ(GetAs("new"), "none");
  EXPECT_TRUE(*asking_->ReloadIfChanged());
  EXPECT_EQ(GetAs("new"), "200");
  EXPECT_EQ(GetAs("client"), "none");
  folder_.Write("clients.pem", "nonsense");
  EXPECT_THAT(std::string(asking_->ReloadIfChanged().status().message()),
              StartsWith("http_tls_client_ca: "));
  EXPECT_EQ(GetAs("new"), "200");
}

TEST_F(TlsTest, AChangedCertificateIsTaken) {
  const auto client = NewTlsClient();
  EXPECT_EQ(StatusAndCode(client->Get("/healthz")), "200");
  const auto reload = [&] {
    const absl::StatusOr<bool> reloaded = certificate_->ReloadIfChanged();
    return reloaded.ok() ? (*reloaded ? "new" : "same") : std::string(reloaded.status().message());
  };
  EXPECT_EQ(reload(), "same");
  WriteFiles("new-ca.pem");
  EXPECT_EQ(reload(), "new");
  EXPECT_EQ(StatusAndCode(NewTlsClient("new-ca.pem")->Get("/healthz")), "200");
  EXPECT_FALSE(NewTlsClient()->Get("/healthz"));
  // A connection keeps what it began with.
  EXPECT_EQ(StatusAndCode(client->Get("/healthz")), "200");

  folder_.Write("server.key", NewCertificate("other", NewAuthority("other")).key);
  EXPECT_THAT(reload(), HasSubstr("http_tls_key"));
  EXPECT_EQ(reload(), "same");  // told once
  EXPECT_EQ(StatusAndCode(NewTlsClient("new-ca.pem")->Get("/healthz")), "200");
}

TEST(TlsCertificateTest, BadFilesAreNamed) {
  const TempFolder folder;
  folder.Write("nonsense", "nonsense");
  const TestCertificate made = NewCertificate("server", NewAuthority("authority"));
  folder.Write("server.pem", made.certificate);
  folder.Write("broken.pem", made.certificate + made.certificate.substr(0, 100));
  folder.Write("server.key", made.key);
  const auto error = [&](const std::string& certificate, const std::string& key) {
    const auto opened = TlsCertificate::Open({"http_tls_certificate", folder / certificate},
                                             {"http_tls_key", folder / key});
    return std::string(opened.status().message());
  };
  EXPECT_THAT(error("none", "server.key"), StartsWith("http_tls_certificate: "));
  EXPECT_THAT(error("nonsense", "server.key"), StartsWith("http_tls_certificate: "));
  EXPECT_THAT(error("broken.pem", "server.key"), StartsWith("http_tls_certificate: "));
  EXPECT_THAT(error("server.pem", "nonsense"), StartsWith("http_tls_key: "));
  EXPECT_THAT(error("server.pem", "none"), StartsWith("http_tls_key: "));
  EXPECT_EQ(error("server.pem", "server.key"), "");
}

}  // namespace
}  // namespace wdelta::testing
