#include "client/cli/connection_arguments.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/local_files.h"
#include "storage/base/error.h"
#include "storage/base/local_address.h"
#include "storage/base/small_file.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kTokenVariable[] = "WDELTA_TOKEN";
constexpr size_t kMaxFileBytes = 1024 * 1024;
constexpr size_t kMaxTokenBytes = 4096;
constexpr absl::Duration kMaxWaitForServer = absl::Hours(24);

absl::StatusOr<std::string> ReadFile(absl::string_view option, const std::string& path) {
  absl::StatusOr<std::string> text = ReadSmallFile(path, kMaxFileBytes);
  if (text.ok()) return text;
  const absl::Status error = Annotate(text.status(), option);
  std::error_code unknown;
  const bool is_there = std::filesystem::exists(path, unknown) || unknown;
  return absl::IsNotFound(error) && is_there
             ? MakeError(absl::StatusCode::kPermissionDenied, kLocalFileReason, error.message())
             : error;
}

// As a header takes it.
absl::Status CheckToken(absl::string_view source, absl::string_view token) {
  bool is_plain = !token.empty() && token.size() <= kMaxTokenBytes;
  for (const char c : token) {
    is_plain = is_plain && absl::ascii_isgraph(static_cast<unsigned char>(c));
  }
  if (is_plain) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      source, ": expected a token of 1 to ", kMaxTokenBytes, " printable characters, no spaces"));
}

}  // namespace

void ConnectionArguments::AddTo(CLI::App& app) {
  app.add_option("--server", server, "host:port or unix:/path")
      ->envname("WDELTA_SERVER")
      ->capture_default_str();
  CLI::Option* const given =
      app.add_option("--token", token,
                     "Token that the server asks for; others on this machine may see it here, so "
                     "better --token-file or WDELTA_TOKEN");
  app.add_option("--token-file,--token_file", token_file, "File that holds the token")
      ->excludes(given);
  app.add_option("--tls-ca,--tls_ca", tls_ca,
                 "Certificates in PEM that the server's must be signed by; without it the "
                 "connection is not encrypted. Not for unix:/path")
      ->envname("WDELTA_TLS_CA");
  app.add_option("--tls-certificate,--tls_certificate", tls_certificate,
                 "Own certificate in PEM, where the server asks for one")
      ->envname("WDELTA_TLS_CERTIFICATE");
  app.add_option("--tls-key,--tls_key", tls_key, "Its private key in PEM")
      ->envname("WDELTA_TLS_KEY");
  app.add_option_function<std::string>(
         "--wait-for-server,--wait_for_server",
         [this](const std::string& text) {
           const absl::Status taken = SetWait(text);
           if (!taken.ok()) throw CLI::ValidationError(std::string(taken.message()));
         },
         "For how long to wait for a server that cannot be connected to yet: 30s, 5m")
      ->type_name("DURATION")
      ->envname("WDELTA_WAIT_FOR_SERVER");
}

absl::Status ConnectionArguments::SetWait(const std::string& text) {
  absl::Duration wait;
  if (!absl::ParseDuration(text, &wait) || wait < absl::ZeroDuration() ||
      wait > kMaxWaitForServer) {
    return absl::InvalidArgumentError(
        absl::StrCat("--wait-for-server: expected a duration from 0s to ",
                     absl::FormatDuration(kMaxWaitForServer), ", such as 30s, found `", text, "`"));
  }
  wait_for_server = wait;
  return absl::OkStatus();
}

absl::StatusOr<ClientOptions> ConnectionArguments::ToOptions(const Environment& environment) const {
  ClientOptions options;
  if (!token.empty()) {
    WDELTA_RETURN_IF_ERROR(CheckToken("--token", token));
    options.token = token;
  } else if (!token_file.empty()) {
    WDELTA_ASSIGN_OR_RETURN(const std::string text, ReadFile("--token-file", token_file));
    options.token = std::string(absl::StripAsciiWhitespace(text));
    WDELTA_RETURN_IF_ERROR(CheckToken(absl::StrCat("--token-file: ", token_file), options.token));
  } else if (const std::optional<std::string> text = environment(kTokenVariable);
             text.has_value() && !text->empty()) {
    options.token = std::string(absl::StripAsciiWhitespace(*text));
    WDELTA_RETURN_IF_ERROR(CheckToken(kTokenVariable, options.token));
  }
  if (tls_certificate.empty() != tls_key.empty()) {
    return absl::InvalidArgumentError("--tls-certificate, --tls-key: expected both or neither");
  }
  if (tls_ca.empty() && !tls_key.empty()) {
    return absl::InvalidArgumentError("--tls-certificate, --tls-key: expected with --tls-ca");
  }
  if (tls_ca.empty()) return options;
  WDELTA_ASSIGN_OR_RETURN(options.tls.ca_certificates, ReadFile("--tls-ca", tls_ca));
  if (options.tls.ca_certificates.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("--tls-ca: ", tls_ca, " is empty"));
  }
  if (tls_key.empty()) return options;
  WDELTA_ASSIGN_OR_RETURN(options.tls.certificate, ReadFile("--tls-certificate", tls_certificate));
  WDELTA_ASSIGN_OR_RETURN(options.tls.key, ReadFile("--tls-key", tls_key));
  return options;
}

std::string PlainTextWarning(const std::string& server, const ClientOptions& options) {
  if (options.token.empty() || !options.tls.ca_certificates.empty() || IsLocalAddress(server)) {
    return "";
  }
  return absl::StrCat("wdelta: warning: the token goes to ", server,
                      " in plain text; --tls-ca encrypts");
}

ConnectionArguments::Environment ProcessEnvironment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* const value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return std::string(value);
  };
}

}  // namespace wdelta
