// The certificate of a port that serves HTTP over TLS, with its key, and the authorities that its
// clients must show certificates of, if any.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace wdelta {

// Of connections; immutable. Each keeps what it began with.
using TlsContextPtr = std::shared_ptr<SSL_CTX>;

// Any thread may call it.
class TlsCertificate {
 public:
  struct File {
    std::string option;  // begins messages
    std::string path;
  };
  // Files in PEM: the chain of certificates, that of the server first, and its key; certificates
  // of authorities, of which those of clients must be (an intermediate will do, without its own
  // authority), or no path: clients need none. NOT_FOUND,
  // INVALID_ARGUMENT naming option and file.
  static absl::StatusOr<std::unique_ptr<TlsCertificate>> Open(File certificate, File key,
                                                              File client_ca = {});

  // For connections that begin now: TLS 1.2 and 1.3, HTTP/1.1.
  TlsContextPtr context() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Reads all files; true: they have changed and are in force. Errors as of Open, once for
  // the same error: what was in force stays. One thread at a time.
  absl::StatusOr<bool> ReloadIfChanged() ABSL_LOCKS_EXCLUDED(mutex_);

  const std::string& option() const { return certificate_.option; }

 private:
  struct Texts {
    std::string certificate;
    std::string key;
    std::string client_ca;
  };
  TlsCertificate(File certificate, File key, File client_ca)
      : certificate_(std::move(certificate)),
        key_(std::move(key)),
        client_ca_(std::move(client_ca)) {}
  absl::StatusOr<Texts> Read() const;
  absl::StatusOr<TlsContextPtr> NewContext(const Texts& texts) const;
  absl::Status AskClients(const std::string& authorities, SSL_CTX& context) const;

  const File certificate_;
  const File key_;
  const File client_ca_;
  // Of the thread that reloads: SHA-256 of what is in force, and why nothing later is.
  std::string digest_;
  absl::Status told_;
  mutable absl::Mutex mutex_;
  TlsContextPtr context_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta
