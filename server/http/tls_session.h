// TLS on one accepted connection, without ever waiting: the handshake is part of the first
// reads and writes.
#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <memory>

#include "server/http/tls_certificate.h"

namespace wdelta {

// One thread at a time. Does not own the socket, which it makes non-blocking.
class TlsSession {
 public:
  enum class Result {
    kSome,
    kWantsRead,   // nothing before the socket can be read
    kWantsWrite,  // nothing before it can be written
    kEnd,         // by the peer, or for an error
  };

  // Null: out of memory.
  static std::unique_ptr<TlsSession> Start(const TlsCertificate& certificate, int socket);
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  // Up to `max_bytes` of what was decrypted. After kWantsRead all that has come was taken.
  Result Read(char* destination, size_t max_bytes, size_t& read_bytes);
  // A part of the bytes. After kWantsWrite the same bytes must come again.
  Result Write(const char* data, size_t size, size_t& written_bytes);
  // Whether Read has something without reading the socket.
  bool HasDecrypted() const { return SSL_pending(ssl_.get()) > 0; }
  // Tells the peer, if it can be told at once, that nothing more comes. May be repeated.
  void EndSending();

 private:
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };
  explicit TlsSession(SSL* ssl) : ssl_(ssl) {}
  Result ResultOf(int returned);

  const std::unique_ptr<SSL, Free> ssl_;
  bool has_failed_ = false;  // or has ended: nothing more may be sent
};

}  // namespace wdelta
