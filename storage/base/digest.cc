#include "storage/base/digest.h"

#include <openssl/evp.h>

#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace wdelta {

absl::StatusOr<Digest> Digest::FromBytes(absl::string_view raw) {
  if (raw.size() != kDigestBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("digest: expected ", kDigestBytes, " bytes, found ", raw.size()));
  }
  Digest digest;
  std::memcpy(digest.bytes_.data(), raw.data(), kDigestBytes);
  return digest;
}

absl::StatusOr<Digest> Digest::FromHex(absl::string_view hex) {
  bool well_formed = hex.size() == 2 * kDigestBytes;
  for (const char c : hex) {
    well_formed = well_formed && (absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f'));
  }
  if (!well_formed) {
    return absl::InvalidArgumentError(
        absl::StrCat("digest: expected 64 lower-case hex digits, found '",
                     absl::CHexEscape(hex.substr(0, 80)), "'"));
  }
  return FromBytes(absl::HexStringToBytes(hex));
}

Digest Digest::Of(absl::string_view data) {
  Sha256Hasher hasher;
  hasher.Update(data);
  return hasher.Current();
}

std::string Digest::ToBytes() const {
  return std::string(reinterpret_cast<const char*>(bytes_.data()), kDigestBytes);
}

std::string Digest::ToHex() const { return absl::BytesToHexString(ToBytes()); }

struct Sha256Hasher::State {
  struct Free {
    void operator()(EVP_MD_CTX* state) const { EVP_MD_CTX_free(state); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context{EVP_MD_CTX_new()};
};

Sha256Hasher::Sha256Hasher() : state_(std::make_unique<State>()) {
  EVP_DigestInit_ex(state_->context.get(), EVP_sha256(), nullptr);
}
Sha256Hasher::~Sha256Hasher() = default;
Sha256Hasher::Sha256Hasher(Sha256Hasher&&) noexcept = default;
Sha256Hasher& Sha256Hasher::operator=(Sha256Hasher&&) noexcept = default;

void Sha256Hasher::Update(absl::string_view data) {
  EVP_DigestUpdate(state_->context.get(), data.data(), data.size());
}

Sha256Hasher Sha256Hasher::Copy() const {
  Sha256Hasher copy;
  EVP_MD_CTX_copy_ex(copy.state_->context.get(), state_->context.get());
  return copy;
}

Digest Sha256Hasher::Current() const {
  State copy;
  EVP_MD_CTX_copy_ex(copy.context.get(), state_->context.get());
  std::array<uint8_t, kDigestBytes> bytes{};
  EVP_DigestFinal_ex(copy.context.get(), bytes.data(), nullptr);
  return Digest(bytes);
}

}  // namespace wdelta
