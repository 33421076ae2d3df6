// Certificates and keys in PEM, as options name their files. Any thread.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/auth/openssl_handles.h"

namespace wdelta {

// A file of at most kMaxTlsFileBytes. All errors, here and below, begin with the option.
absl::StatusOr<std::string> ReadTlsFile(absl::string_view option, const std::string& path);

// Of the text of a file at `path`, one certificate at least. INVALID_ARGUMENT.
absl::StatusOr<std::vector<Certificate>> ParseCertificates(absl::string_view option,
                                                           const std::string& path,
                                                           const std::string& text);

// A key without a pass phrase. INVALID_ARGUMENT.
absl::StatusOr<PrivateKey> ParseKey(absl::string_view option, const std::string& path,
                                    const std::string& text);

// INVALID_ARGUMENT unless the key is that of the certificate.
absl::Status CheckKeyOf(X509* certificate, const std::string& certificate_path, EVP_PKEY* key,
                        absl::string_view key_option, const std::string& key_path);

}  // namespace wdelta
