#include "server/security.h"

#include <memory>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "spdlog/sinks/ostream_sink.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_certificates.h"

namespace wdelta::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class SecurityTest : public ::testing::Test {
 protected:
  SecurityTest() {
    const TestCertificate authority = NewAuthority("authority");
    const TestCertificate server = NewCertificate("server", authority);
    folder_.Write("ca.pem", authority.certificate);
    folder_.Write("server.pem", server.certificate);
    folder_.Write("server.key", server.key);
    folder_.Write("other.key", NewCertificate("other", authority).key);
    folder_.Write("nonsense", "nonsense");
  }
  std::string ErrorOf(const Config& config) const {
    const auto opened = OpenSecurity(config);
    EXPECT_FALSE(opened.ok());
    return std::string(opened.status().message());
  }
  Config Tls(const std::string& certificate, const std::string& key) const {
    Config config;
    config.tls_certificate = folder_ / certificate;
    config.tls_key = folder_ / key;
    return config;
  }

  const TempFolder folder_;
};

TEST_F(SecurityTest, NothingIsAskedUnlessConfigured) {
  const auto opened = OpenSecurity(Config());
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->authenticator, nullptr);
  EXPECT_NE(opened->credentials, nullptr);
}

TEST_F(SecurityTest, OpensCertificates) {
  Config config = Tls("server.pem", "server.key");
  EXPECT_TRUE(OpenSecurity(config).ok()) << OpenSecurity(config).status();
  config.tls_client_ca = folder_ / "ca.pem";
  EXPECT_TRUE(OpenSecurity(config).ok()) << OpenSecurity(config).status();
}

TEST_F(SecurityTest, OtherPortsHaveCertificatesOfTheirOwn) {
  Config config;
  config.http_tls_certificate = folder_ / "server.pem";
  config.http_tls_key = folder_ / "server.key";
  const auto opened = OpenSecurity(config);
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_NE(opened->http_tls, nullptr);
  EXPECT_EQ(opened->operations_tls, nullptr);
  config.operations_tls_certificate = folder_ / "server.pem";
  config.operations_tls_key = folder_ / "other.key";
  EXPECT_THAT(ErrorOf(config),
              AllOf(HasSubstr("operations_tls_key"), HasSubstr(folder_ / "server.pem")));
  config.http_tls_certificate = folder_ / "nonsense";
  EXPECT_THAT(ErrorOf(config), AllOf(HasSubstr("http_tls_certificate"), HasSubstr("PEM")));
  config.http_tls_certificate = folder_ / "server.pem";
  config.http_tls_client_ca = folder_ / "nonsense";
  EXPECT_THAT(ErrorOf(config), AllOf(HasSubstr("http_tls_client_ca"), HasSubstr("PEM")));
}

TEST_F(SecurityTest, BadFilesAreNamedWithTheirOption) {
  EXPECT_THAT(ErrorOf(Tls("none.pem", "server.key")),
              AllOf(HasSubstr("tls_certificate"), HasSubstr(folder_ / "none.pem")));
  EXPECT_THAT(ErrorOf(Tls("nonsense", "server.key")),
              AllOf(HasSubstr("tls_certificate"), HasSubstr("PEM")));
  EXPECT_THAT(ErrorOf(Tls("server.pem", "none.key")),
              AllOf(HasSubstr("tls_key"), HasSubstr(folder_ / "none.key")));
  EXPECT_THAT(ErrorOf(Tls("server.pem", "nonsense")),
              AllOf(HasSubstr("tls_key"), HasSubstr("private key")));
  EXPECT_THAT(ErrorOf(Tls("server.pem", "other.key")),
              AllOf(HasSubstr("tls_key"), HasSubstr(folder_ / "server.pem")));
  Config config = Tls("server.pem", "server.key");
  config.tls_client_ca = folder_ / "nonsense";
  EXPECT_THAT(ErrorOf(config), HasSubstr("tls_client_ca"));
  Config tokens;
  tokens.tokens_file = folder_ / "nonsense";
  EXPECT_THAT(ErrorOf(tokens), AllOf(HasSubstr("tokens_file"), HasSubstr(folder_ / "nonsense")));
}

std::string WarningOf(const Config& config) {
  std::ostringstream text;
  spdlog::logger log("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(text));
  WarnIfOpen(config, log);
  return text.str();
}

TEST_F(SecurityTest, WarnsOfWhatStrangersReach) {
  Config config;
  config.listen = {"localhost:1", "127.0.0.1:1", "[::1]:1", "unix:/s"};
  EXPECT_THAT(WarningOf(config), IsEmpty());
  config.http_listen = "0.0.0.0:8080";
  EXPECT_THAT(WarningOf(config), HasSubstr("0.0.0.0:8080"));
  config.listen.push_back("[::]:1");
  EXPECT_THAT(WarningOf(config), HasSubstr("[::]:1 and 1 more"));
  config.tls_client_ca = "ca";
  EXPECT_THAT(WarningOf(config), HasSubstr("0.0.0.0:8080"));
  config.http_tls_client_ca = "ca";
  EXPECT_THAT(WarningOf(config), IsEmpty());
}

TEST_F(SecurityTest, WarnsOfTokensInPlainText) {
  Config config;
  config.tokens_file = "t";
  config.listen = {"localhost:1", "unix:/s"};
  config.http_listen = "127.0.0.1:8080";
  EXPECT_THAT(WarningOf(config), IsEmpty());
  config.listen.push_back("[::]:1");
  EXPECT_THAT(WarningOf(config), AllOf(HasSubstr("[::]:1 in plain text"), HasSubstr("tokens")));
  EXPECT_THAT(WarningOf(config), Not(HasSubstr("anybody")));
  config.http_listen = "0.0.0.0:8080";
  EXPECT_THAT(WarningOf(config), HasSubstr("[::]:1 and 1 more in plain text"));
  config.tls_certificate = "c";
  config.tls_key = "k";
  EXPECT_THAT(WarningOf(config), HasSubstr("to 0.0.0.0:8080 in plain text"));
  config.http_tls_certificate = "c";
  config.http_tls_key = "k";
  EXPECT_THAT(WarningOf(config), IsEmpty());
}

}  // namespace
}  // namespace wdelta::testing
