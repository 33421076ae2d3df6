// What an operator asks the daemon: metrics and health, from before its store opens until
// after it is closed.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/http/http_stats.h"
#include "server/operations/health_checks.h"
#include "server/operations/metric_sources.h"
#include "server/operations/operations_server.h"
#include "server/rpc/rpc_environment.h"
#include "spdlog/logger.h"
#include "storage/blobs/database_stats.h"
#include "storage/engine/model_store.h"

namespace wdelta {

// Any thread may call it.
class Operations {
 public:
  // Serves `listen`, HOST:PORT; empty: nothing. `tls` null: plain HTTP. Owns neither the log nor
  // that, which must outlive it. Errors: as OperationsServer::Start.
  static absl::StatusOr<std::unique_ptr<Operations>> Start(const std::string& listen,
                                                           spdlog::logger* log,
                                                           const TlsCertificate* tls = nullptr);

  // HOST:PORT with the port that was chosen; empty: none.
  std::string address() const { return server_ == nullptr ? "" : server_->address(); }

  // What is open. Null parts are not told of.
  struct Parts {
    ModelStore* store = nullptr;
    RpcEnvironment* rpc = nullptr;
    HttpStats* http = nullptr;
    std::vector<std::pair<std::string, std::function<DatabaseStats()>>> databases;
  };
  // While this lives, its parts are told of.
  class Watch {
   public:
    Watch(HealthChecks* health, std::vector<MetricSources::Registration> sources)
        : health_(health), sources_(std::move(sources)) {}
    ~Watch() { health_->SetStore(nullptr); }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

   private:
    HealthChecks* const health_;
    const std::vector<MetricSources::Registration> sources_;
  };
  // Once at a time. All parts must outlive what is returned.
  [[nodiscard]] std::unique_ptr<Watch> WatchParts(const Parts& parts);

  // Ready from now on, where no check fails.
  void SetServing() { health_.SetServing(); }
  // Not ready any more, for good.
  void SetDraining() { health_.SetDraining(); }

  HealthChecks& health() { return health_; }
  MetricSources& metrics() { return metrics_; }

 private:
  Operations();

  HealthChecks health_;
  MetricSources metrics_;
  const MetricSources::Registration own_;
  std::unique_ptr<OperationsServer> server_;  // null: none
};

}  // namespace wdelta
