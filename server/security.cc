#include "server/security.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_credentials_options.h"
#include "server/auth/auth_limits.h"
#include "server/auth/openssl_handles.h"
#include "storage/base/error.h"
#include "storage/base/local_address.h"
#include "storage/base/small_file.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

absl::StatusOr<std::string> ReadTlsFile(absl::string_view option, const std::string& path) {
  absl::StatusOr<std::string> text = ReadSmallFile(path, auth_limits::kMaxTlsFileBytes);
  if (!text.ok()) return Annotate(text.status(), std::string(option));
  return text;
}

Bio BioOf(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

absl::StatusOr<Certificate> ReadCertificate(absl::string_view option, const std::string& path) {
  WDELTA_ASSIGN_OR_RETURN(const std::string text, ReadTlsFile(option, path));
  Certificate certificate(PEM_read_bio_X509(BioOf(text).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (certificate != nullptr) return certificate;
  return absl::InvalidArgumentError(
      absl::StrCat(option, ": ", path, ": expected a certificate in PEM"));
}

absl::StatusOr<PrivateKey> ReadKey(absl::string_view option, const std::string& path) {
  WDELTA_ASSIGN_OR_RETURN(const std::string text, ReadTlsFile(option, path));
  // Otherwise the library asks for a pass phrase on the terminal.
  const auto no_pass_phrase = [](char*, int, int, void*) { return 0; };
  PrivateKey key(PEM_read_bio_PrivateKey(BioOf(text).get(), nullptr, no_pass_phrase, nullptr));
  ERR_clear_error();
  if (key != nullptr) return key;
  return absl::InvalidArgumentError(
      absl::StrCat(option, ": ", path, ": expected a private key in PEM without a pass phrase"));
}

// What gRPC, which reads the files itself, would only say at the first connection.
absl::Status CheckTlsFiles(const Config& config) {
  WDELTA_ASSIGN_OR_RETURN(const Certificate certificate,
                          ReadCertificate("tls_certificate", config.tls_certificate));
  WDELTA_ASSIGN_OR_RETURN(const PrivateKey key, ReadKey("tls_key", config.tls_key));
  const bool belong_together = X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (!belong_together) {
    return absl::InvalidArgumentError(absl::StrCat("tls_key: ", config.tls_key,
                                                   ": expected the key of the certificate in ",
                                                   config.tls_certificate));
  }
  if (config.tls_client_ca.empty()) return absl::OkStatus();
  return ReadCertificate("tls_client_ca", config.tls_client_ca).status();
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
  add(config.http_listen, /*asks_for_certificate=*/false, /*encrypts=*/false);
  if (!open.empty()) {
    log.warn(
        "anybody who reaches {} may read and delete every model; --tokens_file asks for tokens",
        FirstAndCount(open));
  }
  if (!plain.empty()) {
    log.warn(
        "tokens come to {} in plain text; --tls_certificate and --tls_key encrypt gRPC, HTTP needs "
        "a proxy that does",
        FirstAndCount(plain));
  }
}

}  // namespace wdelta
