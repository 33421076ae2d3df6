// What the daemon asks of those who call, from the files that its options name: tokens and
// certificates.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/security/server_credentials.h"
#include "server/auth/authenticator.h"
#include "server/config.h"
#include "server/http/tls_certificate.h"
#include "server/jobs/periodic_task.h"
#include "spdlog/logger.h"

namespace wdelta {

struct Security {
  std::unique_ptr<Authenticator> authenticator;  // null: no token is asked for
  // Of all addresses but Unix sockets, whose files have permissions. Never null. Takes changed
  // files within kTlsFileCheckSeconds; files that belong together are to be replaced at once,
  // as by a link to their folder.
  std::shared_ptr<grpc::ServerCredentials> credentials;
  // Of the HTTP port and of the operations port; null: they serve plain HTTP.
  std::unique_ptr<TlsCertificate> http_tls;
  std::unique_ptr<TlsCertificate> operations_tls;
};

// Reads all files. INVALID_ARGUMENT, NOT_FOUND naming the option and the file.
absl::StatusOr<Security> OpenSecurity(const Config& config);

// Lets changes of the file of tokens take effect, and tells the log, or why they do not; null
// without tokens. Owns neither; both must outlive it.
std::unique_ptr<PeriodicTask> StartTokenReload(Authenticator* authenticator, spdlog::logger* log);

// Likewise of a certificate; null without one.
std::unique_ptr<PeriodicTask> StartTlsReload(TlsCertificate* certificate, spdlog::logger* log);

// Warns when strangers may reach an address and are asked for nothing, and when tokens go to one
// in plain text.
void WarnIfOpen(const Config& config, spdlog::logger& log);

}  // namespace wdelta
