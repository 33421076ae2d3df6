#include "server/http/tls_session.h"

#include <fcntl.h>
#include <openssl/err.h>

namespace wdelta {

std::unique_ptr<TlsSession> TlsSession::Start(const TlsCertificate& certificate, int socket) {
  const TlsContextPtr context = certificate.context();
  const int flags = fcntl(socket, F_GETFL);
  if (flags < 0 || fcntl(socket, F_SETFL, flags | O_NONBLOCK) != 0) return nullptr;
  // It keeps the context.
  std::unique_ptr<TlsSession> session(new TlsSession(SSL_new(context.get())));
  if (session->ssl_ == nullptr || SSL_set_fd(session->ssl_.get(), socket) != 1) {
    ERR_clear_error();
    return nullptr;
  }
  SSL_set_accept_state(session->ssl_.get());
  return session;
}

TlsSession::Result TlsSession::ResultOf(int returned) {
  if (returned == 1) return Result::kSome;
  const int error = SSL_get_error(ssl_.get(), returned);
  ERR_clear_error();
  if (error == SSL_ERROR_WANT_READ) return Result::kWantsRead;
  if (error == SSL_ERROR_WANT_WRITE) return Result::kWantsWrite;
  // The end that the peer has told does not end what is sent to it.
  if (error != SSL_ERROR_ZERO_RETURN) has_failed_ = true;
  return Result::kEnd;
}

TlsSession::Result TlsSession::Read(char* destination, size_t max_bytes, size_t& read_bytes) {
  read_bytes = 0;
  if (has_failed_) return Result::kEnd;
  ERR_clear_error();  // of whatever else this thread did
  return ResultOf(SSL_read_ex(ssl_.get(), destination, max_bytes, &read_bytes));
}

TlsSession::Result TlsSession::Write(const char* data, size_t size, size_t& written_bytes) {
  written_bytes = 0;
  if (has_failed_) return Result::kEnd;
  ERR_clear_error();
  return ResultOf(SSL_write_ex(ssl_.get(), data, size, &written_bytes));
}

void TlsSession::EndSending() {
  // Not within a handshake, nor twice.
  if (has_failed_ || SSL_is_init_finished(ssl_.get()) == 0) return;
  if ((SSL_get_shutdown(ssl_.get()) & SSL_SENT_SHUTDOWN) != 0) return;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

}  // namespace wdelta
