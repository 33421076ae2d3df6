#include "server/auth/link_signer.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "absl/strings/escaping.h"

namespace wdelta {

absl::StatusOr<LinkSigner> LinkSigner::Create() {
  LinkSigner signer;
  if (RAND_bytes(signer.key_.data(), static_cast<int>(signer.key_.size())) != 1) {
    return absl::InternalError("the system gives no random numbers");
  }
  return signer;
}

std::string LinkSigner::Sign(absl::string_view text) const {
  unsigned char mac[EVP_MAX_MD_SIZE];
  unsigned int mac_bytes = 0;
  HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac, &mac_bytes);
  return absl::BytesToHexString({reinterpret_cast<const char*>(mac), mac_bytes});
}

bool LinkSigner::Verify(absl::string_view text, absl::string_view signature) const {
  const std::string expected = Sign(text);
  return signature.size() == expected.size() &&
         CRYPTO_memcmp(signature.data(), expected.data(), expected.size()) == 0;
}

}  // namespace wdelta
