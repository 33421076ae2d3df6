// The daemon's HTTP port: the Hugging Face Hub's protocol, and health.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/auth/authenticator.h"
#include "server/http/http_limits.h"
#include "server/http/http_stats.h"
#include "server/http/socket_server.h"
#include "server/rpc/admission_queue.h"
#include "spdlog/logger.h"
#include "storage/base/clock.h"
#include "storage/base/file_system.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/model_store.h"

namespace wdelta {

struct HttpOptions {
  std::string listen;  // HOST:PORT; port 0: any free one
  // A thread each. Uploads take at most three quarters, downloads that wait an eighth.
  int max_connections = http_limits::kDefaultMaxConnections;
  Pace pace;
};

// Serves from the start of its life until Drain or the destructor. One thread at a time.
class HttpServer {
 public:
  // Owned by the caller; all must outlive the server.
  struct Dependencies {
    ModelStore* store = nullptr;
    Catalog* catalog = nullptr;
    FileSystem* files = nullptr;
    const Clock* clock = nullptr;
    // Each download takes a place of both. Limits and closing are the caller's.
    AdmissionQueue* fetches = nullptr;
    AdmissionQueue* downloads = nullptr;
    spdlog::logger* log = nullptr;
    // A folder of the server's own, emptied at its start: what clients send before they
    // commit it.
    std::string incoming_path;
    // Null: nothing is counted.
    HttpStats* stats = nullptr;
    // Null: no token is asked for.
    const Authenticator* authenticator = nullptr;
    // Null: plain HTTP.
    const TlsCertificate* tls = nullptr;
  };
  // UNAVAILABLE naming the address that cannot be bound, and errors of the folder.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const HttpOptions& options,
                                                           const Dependencies& dependencies);
  ~HttpServer();

  // HOST:PORT with the port that was chosen.
  const std::string& address() const { return address_; }

  // Requests that run go on; further ones are refused. May be repeated, as may Drain.
  void StopAccepting() { server_->StopAccepting(); }
  // The same; then connections that still run after `grace` are cut, and commits that run
  // are ended. Returns when all have ended.
  void Drain(absl::Duration grace);

 private:
  class Routes;
  HttpServer(std::unique_ptr<Routes> routes, std::unique_ptr<SocketServer> server,
             std::string address);

  const std::unique_ptr<Routes> routes_;
  const std::unique_ptr<SocketServer> server_;
  const std::string address_;
  std::thread thread_;
};

}  // namespace wdelta
