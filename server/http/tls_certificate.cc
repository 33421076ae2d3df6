#include "server/http/tls_certificate.h"

#include <openssl/err.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/auth/tls_files.h"
#include "storage/base/digest.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr unsigned char kHttp11[] = "\x08http/1.1";

// Clients that also speak HTTP/2 ask which it is to be.
int ChooseProtocol(SSL*, const unsigned char** chosen, unsigned char* chosen_size,
                   const unsigned char* offered, unsigned int offered_size, void*) {
  unsigned char* found = nullptr;
  const int result = SSL_select_next_proto(&found, chosen_size, kHttp11, sizeof(kHttp11) - 1,
                                           offered, offered_size);
  if (result != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_NOACK;
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

std::string DigestOf(absl::string_view certificate, absl::string_view key) {
  return Digest::Of(absl::StrCat(certificate.size(), "\n", certificate, key)).ToBytes();
}

}  // namespace

absl::StatusOr<TlsCertificate::Texts> TlsCertificate::Read() const {
  Texts texts;
  WDELTA_ASSIGN_OR_RETURN(texts.certificate, ReadTlsFile(certificate_.option, certificate_.path));
  WDELTA_ASSIGN_OR_RETURN(texts.key, ReadTlsFile(key_.option, key_.path));
  return texts;
}

absl::StatusOr<TlsContextPtr> TlsCertificate::NewContext(const Texts& texts) const {
  WDELTA_ASSIGN_OR_RETURN(
      const std::vector<Certificate> chain,
      ParseCertificates(certificate_.option, certificate_.path, texts.certificate));
  WDELTA_ASSIGN_OR_RETURN(const PrivateKey key, ParseKey(key_.option, key_.path, texts.key));
  WDELTA_RETURN_IF_ERROR(
      CheckKeyOf(chain[0].get(), certificate_.path, key.get(), key_.option, key_.path));
  TlsContextPtr context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (context == nullptr) return absl::ResourceExhaustedError("TLS: out of memory");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                      SSL_MODE_RELEASE_BUFFERS);
  // Clients keep their sessions themselves, in tickets.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_alpn_select_cb(context.get(), ChooseProtocol, nullptr);
  bool is_taken = SSL_CTX_use_certificate(context.get(), chain[0].get()) == 1 &&
                  SSL_CTX_use_PrivateKey(context.get(), key.get()) == 1;
  for (size_t i = 1; is_taken && i < chain.size(); ++i) {
    is_taken = SSL_CTX_add1_chain_cert(context.get(), chain[i].get()) == 1;
  }
  const unsigned long error = ERR_peek_last_error();
  const char* const reason = is_taken ? nullptr : ERR_reason_error_string(error);
  ERR_clear_error();
  if (is_taken) return context;
  // A key that is too weak, for instance.
  return absl::InvalidArgumentError(
      absl::StrCat(certificate_.option, ": ", certificate_.path,
                   ": expected a certificate that TLS takes: ", reason == nullptr ? "" : reason));
}

absl::StatusOr<std::unique_ptr<TlsCertificate>> TlsCertificate::Open(File certificate, File key) {
  std::unique_ptr<TlsCertificate> opened(
      new TlsCertificate(std::move(certificate), std::move(key)));
  WDELTA_RETURN_IF_ERROR(opened->ReloadIfChanged().status());
  return opened;
}

TlsContextPtr TlsCertificate::context() const {
  absl::MutexLock lock(&mutex_);
  return context_;
}

absl::StatusOr<bool> TlsCertificate::ReloadIfChanged() {
  const auto tell = [this](const absl::Status& error) -> absl::StatusOr<bool> {
    if (error == told_) return false;
    told_ = error;
    return error;
  };
  const absl::StatusOr<Texts> texts = Read();
  if (!texts.ok()) return tell(texts.status());
  std::string digest = DigestOf(texts->certificate, texts->key);
  if (digest == digest_) {
    told_ = absl::OkStatus();
    return false;
  }
  absl::StatusOr<TlsContextPtr> context = NewContext(*texts);
  if (!context.ok()) return tell(context.status());
  told_ = absl::OkStatus();
  digest_ = std::move(digest);
  absl::MutexLock lock(&mutex_);
  context_ = *std::move(context);
  return true;
}

}  // namespace wdelta
