// The operations port: /metrics, /livez and /readyz over HTTP.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "server/http/socket_server.h"
#include "server/operations/health_checks.h"
#include "server/operations/metric_sources.h"
#include "spdlog/logger.h"

namespace wdelta {

// Serves from the start of its life to the end. One thread at a time.
class OperationsServer {
 public:
  // Owns none of them; all must outlive it.
  struct Dependencies {
    MetricSources* metrics = nullptr;
    HealthChecks* health = nullptr;
    spdlog::logger* log = nullptr;
    const TlsCertificate* tls = nullptr;  // null: plain HTTP
  };
  // `listen`: HOST:PORT; port 0: any free one. UNAVAILABLE naming the address that cannot be
  // bound, RESOURCE_EXHAUSTED.
  static absl::StatusOr<std::unique_ptr<OperationsServer>> Start(const std::string& listen,
                                                                 const Dependencies& dependencies);
  ~OperationsServer();
  OperationsServer(const OperationsServer&) = delete;
  OperationsServer& operator=(const OperationsServer&) = delete;

  // HOST:PORT with the port that was chosen.
  const std::string& address() const { return address_; }

 private:
  OperationsServer(std::unique_ptr<SocketServer> server, std::string address);

  const std::unique_ptr<SocketServer> server_;
  const std::string address_;
  std::thread thread_;
};

}  // namespace wdelta
