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

constexpr unsigned char kSessions[] = "wdelta";

std::string DigestOf(absl::string_view certificate, absl::string_view key,
                     absl::string_view client_ca) {
  return Digest::Of(
             absl::StrCat(certificate.size(), "\n", key.size(), "\n", certificate, key, client_ca))
      .ToBytes();
}

}  // namespace

absl::StatusOr<TlsCertificate::Texts> TlsCertificate::Read() const {
  Texts texts;
  WDELTA_ASSIGN_OR_RETURN(texts.certificate, ReadTlsFile(certificate_.option, certificate_.path));
  WDELTA_ASSIGN_OR_RETURN(texts.key, ReadTlsFile(key_.option, key_.path));
  if (client_ca_.path.empty()) return texts;
  WDELTA_ASSIGN_OR_RETURN(texts.client_ca, ReadTlsFile(client_ca_.option, client_ca_.path));
  return texts;
}

// A client without a certificate of one of them gets no connection.
absl::Status TlsCertificate::AskClients(const std::string& authorities, SSL_CTX& context) const {
  WDELTA_ASSIGN_OR_RETURN(const std::vector<Certificate> certificates,
                          ParseCertificates(client_ca_.option, client_ca_.path, authorities));
  X509_STORE* const trusted = SSL_CTX_get_cert_store(&context);
  // As gRPC does: an authority of the file need not be its own, so that an intermediate will do.
  X509_STORE_set_flags(trusted, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST);
  bool is_taken = true;
  for (const Certificate& certificate : certificates) {
    // The names are told to clients, which choose by them.
    is_taken = is_taken && X509_STORE_add_cert(trusted, certificate.get()) == 1 &&
               SSL_CTX_add_client_CA(&context, certificate.get()) == 1;
  }
  // Sessions are gone on with only where the certificate was asked for likewise: in this context.
  is_taken =
      is_taken && SSL_CTX_set_session_id_context(&context, kSessions, sizeof(kSessions) - 1) == 1;
  SSL_CTX_set_verify(&context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  ERR_clear_error();
  return is_taken ? absl::OkStatus() : absl::ResourceExhaustedError("TLS: out of memory");
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
  if (!client_ca_.path.empty()) {
    WDELTA_RETURN_IF_ERROR(AskClients(texts.client_ca, *context));
  }
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

absl::StatusOr<std::unique_ptr<TlsCertificate>> TlsCertificate::Open(File certificate, File key,
                                                                     File client_ca) {
  std::unique_ptr<TlsCertificate> opened(
      new TlsCertificate(std::move(certificate), std::move(key), std::move(client_ca)));
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
  std::string digest = DigestOf(texts->certificate, texts->key, texts->client_ca);
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
