#include "server/auth/tls_files.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "absl/strings/str_cat.h"
#include "server/auth/auth_limits.h"
#include "storage/base/error.h"
#include "storage/base/small_file.h"

namespace wdelta {
namespace {

Bio BioOf(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

}  // namespace

absl::StatusOr<std::string> ReadTlsFile(absl::string_view option, const std::string& path) {
  absl::StatusOr<std::string> text = ReadSmallFile(path, auth_limits::kMaxTlsFileBytes);
  if (!text.ok()) return Annotate(text.status(), std::string(option));
  return text;
}

absl::StatusOr<std::vector<Certificate>> ParseCertificates(absl::string_view option,
                                                           const std::string& path,
                                                           const std::string& text) {
  const Bio bio = BioOf(text);
  std::vector<Certificate> certificates;
  while (Certificate certificate{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) {
    certificates.push_back(std::move(certificate));
  }
  // What ends the text is no certificate, unless it was begun as one.
  const unsigned long last = ERR_peek_last_error();
  const bool is_whole = ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (is_whole && !certificates.empty()) return certificates;
  return absl::InvalidArgumentError(
      absl::StrCat(option, ": ", path, ": expected a certificate in PEM"));
}

absl::StatusOr<PrivateKey> ParseKey(absl::string_view option, const std::string& path,
                                    const std::string& text) {
  // Otherwise the library asks for a pass phrase on the terminal.
  const auto no_pass_phrase = [](char*, int, int, void*) { return 0; };
  PrivateKey key(PEM_read_bio_PrivateKey(BioOf(text).get(), nullptr, no_pass_phrase, nullptr));
  ERR_clear_error();
  if (key != nullptr) return key;
  return absl::InvalidArgumentError(
      absl::StrCat(option, ": ", path, ": expected a private key in PEM without a pass phrase"));
}

absl::Status CheckKeyOf(X509* certificate, const std::string& certificate_path, EVP_PKEY* key,
                        absl::string_view key_option, const std::string& key_path) {
  const bool belong_together = X509_check_private_key(certificate, key) == 1;
  ERR_clear_error();
  if (belong_together) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      key_option, ": ", key_path, ": expected the key of the certificate in ", certificate_path));
}

}  // namespace wdelta
