#include "server/security.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_credentials_options.h"
#include "server/auth/auth_limits.h"
#include "server/auth/openssl_handles.h"
#include "server/auth/tls_files.h"
#include "storage/base/error.h"
#include "storage/base/local_address.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

// What gRPC, which reads the files itself, would only say at the first connection.
absl::Status CheckTlsFiles(const Config& config) {
  const std::string& path = config.tls_certificate;
  WDELTA_ASSIGN_OR_RETURN(const std::string text, ReadTlsFile("tls_certificate", path));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<Certificate> certificates,
                          ParseCertificates("tls_certificate", path, text));
  WDELTA_ASSIGN_OR_RETURN(const std::string key_text, ReadTlsFile("tls_key", config.tls_key));
  WDELTA_ASSIGN_OR_RETURN(const PrivateKey key, ParseKey("tls_key", config.tls_key, key_text));
  WDELTA_RETURN_IF_ERROR(
      CheckKeyOf(certificates[0].get(), path, key.get(), "tls_key", config.tls_key));
  if (config.tls_client_ca.empty()) return absl::OkStatus();
  WDELTA_ASSIGN_OR_RETURN(const std::string ca_text,
                          ReadTlsFile("tls_client_ca", config.tls_client_ca));
  return ParseCertificates("tls_client_ca", config.tls_client_ca, ca_text).status();
}

std::shared_ptr<grpc::ServerCredentials> TlsCredentials(const Config& config) {
  namespace tls = grpc::experimental;
  const bool asks_clients = !config.tls_client_ca.empty();
  tls::TlsServerCredentialsOptions options(std::make_shared<tls::FileWatcherCertificateProvider>(
      config.tls_key, config.tls_certificate, config.tls_client_ca,
      auth_limits::kTlsFileCheckSeconds));
  options.watch_identity_key_cert_pairs();
  if (asks_clients) options.watch_root_certs();
  options.set_cert_request_type(asks_clients
                                    ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                    : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  return tls::TlsServerCredentials(options);
}

// Null without a certificate.
absl::StatusOr<std::unique_ptr<TlsCertificate>> OpenTls(absl::string_view prefix,
                                                        const std::string& certificate_path,
                                                        const std::string& key_path,
                                                        const std::string& client_ca_path) {
  if (certificate_path.empty()) return nullptr;
  return TlsCertificate::Open({absl::StrCat(prefix, "tls_certificate"), certificate_path},
                              {absl::StrCat(prefix, "tls_key"), key_path},
                              {absl::StrCat(prefix, "tls_client_ca"), client_ca_path});
}

// `a and 2 more`
std::string FirstAndCount(const std::vector<std::string>& addresses) {
  return absl::StrCat(addresses[0], addresses.size() > 1
                                        ? absl::StrCat(" and ", addresses.size() - 1, " more")
                                        : "");
}

}  // namespace

absl::StatusOr<Security> OpenSecurity(const Config& config) {
  Security security;
  if (!config.tokens_file.empty()) {
    absl::StatusOr<std::unique_ptr<Authenticator>> opened = Authenticator::Open(config.tokens_file);
    if (!opened.ok()) return Annotate(opened.status(), "tokens_file");
    security.authenticator = *std::move(opened);
  }
  if (config.tls_certificate.empty()) {
    security.credentials = grpc::InsecureServerCredentials();
  } else {
    WDELTA_RETURN_IF_ERROR(CheckTlsFiles(config));
    security.credentials = TlsCredentials(config);
  }
  WDELTA_ASSIGN_OR_RETURN(security.http_tls,
                          OpenTls("http_", config.http_tls_certificate, config.http_tls_key,
                                  config.http_tls_client_ca));
  WDELTA_ASSIGN_OR_RETURN(security.operations_tls,
                          OpenTls("operations_", config.operations_tls_certificate,
                                  config.operations_tls_key, config.operations_tls_client_ca));
  return security;
}

std::unique_ptr<PeriodicTask> StartTokenReload(Authenticator* authenticator, spdlog::logger* log) {
  if (authenticator == nullptr) return nullptr;
  return std::make_unique<PeriodicTask>(
      "tokens_file, the earlier one stays in force",
      [authenticator, log]() -> absl::Status {
        WDELTA_ASSIGN_OR_RETURN(const bool is_new, authenticator->ReloadIfChanged());
        if (is_new) log->info("tokens_file: read again, {} tokens", authenticator->token_count());
        return absl::OkStatus();
      },
      absl::Milliseconds(auth_limits::kTokenFileCheckMs), log);
}

std::unique_ptr<PeriodicTask> StartTlsReload(TlsCertificate* certificate, spdlog::logger* log) {
  if (certificate == nullptr) return nullptr;
  return std::make_unique<PeriodicTask>(
      absl::StrCat(certificate->option(), ", the earlier one stays in force"),
      [certificate, log]() -> absl::Status {
        WDELTA_ASSIGN_OR_RETURN(const bool is_new, certificate->ReloadIfChanged());
        if (is_new) log->info("{}: read again", certificate->option());
        return absl::OkStatus();
      },
      absl::Seconds(auth_limits::kTlsFileCheckSeconds), log);
}

void WarnIfOpen(const Config& config, spdlog::logger& log) {
  std::vector<std::string> open;
  std::vector<std::string> plain;
  const bool asks_for_tokens = !config.tokens_file.empty();
  const auto add = [&](const std::string& address, bool asks_for_certificate, bool encrypts) {
    if (address.empty() || IsLocalAddress(address)) return;
    if (!asks_for_tokens && !asks_for_certificate) open.push_back(address);
    if (asks_for_tokens && !encrypts) plain.push_back(address);
  };
  for (const std::string& address : config.listen) {
    add(address, !config.tls_client_ca.empty(), !config.tls_certificate.empty());
  }
  add(config.http_listen, !config.http_tls_client_ca.empty(), !config.http_tls_certificate.empty());
  if (!open.empty()) {
    log.warn(
        "anybody who reaches {} may read and delete every model; --tokens_file asks for tokens",
        FirstAndCount(open));
  }
  if (!plain.empty()) {
    log.warn(
        "tokens come to {} in plain text; --tls_certificate and --tls_key encrypt gRPC, "
        "--http_tls_certificate and --http_tls_key HTTP",
        FirstAndCount(plain));
  }
}

}  // namespace wdelta
