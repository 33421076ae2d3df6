#include "server/operations/operations.h"

#include "absl/strings/str_cat.h"
#include "server/operations/process_metrics.h"
#include "server/operations/server_metrics.h"
#include "server/operations/store_metrics.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

absl::Status CheckDisk(ModelStore& store) {
  WDELTA_ASSIGN_OR_RETURN(const DiskGuard::State disk, store.disk().Look());
  if (!disk.is_full) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "the store is read-only: expected at least ", disk.min_free_bytes,
      " bytes of free disk space, and a quarter more to go on; found ", disk.free_bytes));
}

}  // namespace

Operations::Operations()
    : own_(metrics_.Add("process", [this](MetricWriter& writer) {
        writer.Add(MetricId::kReady, health_.Look().is_ready ? 1 : 0);
        return CollectProcess(writer);
      })) {}

absl::StatusOr<std::unique_ptr<Operations>> Operations::Start(const std::string& listen,
                                                              spdlog::logger* log,
                                                              const TlsCertificate* tls) {
  std::unique_ptr<Operations> operations(new Operations());
  if (!listen.empty()) {
    WDELTA_ASSIGN_OR_RETURN(
        operations->server_,
        OperationsServer::Start(listen, {&operations->metrics_, &operations->health_, log, tls}));
  }
  return operations;
}

std::unique_ptr<Operations::Watch> Operations::WatchParts(const Parts& parts) {
  std::vector<MetricSources::Registration> sources;
  if (ModelStore* const store = parts.store; store != nullptr) {
    sources.push_back(metrics_.Add(
        "models", [store](MetricWriter& writer) { return CollectModels(*store, writer); }));
    sources.push_back(metrics_.Add(
        "jobs", [store](MetricWriter& writer) { return CollectJobs(*store, writer); }));
    sources.push_back(metrics_.Add("fetches", [store](MetricWriter& writer) {
      CollectFetches(*store, writer);
      return absl::OkStatus();
    }));
    sources.push_back(metrics_.Add(
        "disk", [store](MetricWriter& writer) { return CollectDisk(*store, writer); }));
    health_.SetStore([store] { return CheckDisk(*store); });
  }
  if (RpcEnvironment* const rpc = parts.rpc; rpc != nullptr) {
    sources.push_back(metrics_.Add("rpc", [rpc](MetricWriter& writer) {
      CollectRpc(*rpc, writer);
      return absl::OkStatus();
    }));
  }
  if (const HttpStats* const http = parts.http; http != nullptr) {
    sources.push_back(metrics_.Add("http", [http](MetricWriter& writer) {
      CollectHttp(*http, writer);
      return absl::OkStatus();
    }));
  }
  for (const auto& [name, stats] : parts.databases) {
    sources.push_back(metrics_.Add(absl::StrCat(name, "_database"),
                                   [name = name, stats = stats](MetricWriter& writer) {
                                     CollectDatabase(name, stats(), writer);
                                     return absl::OkStatus();
                                   }));
  }
  return std::make_unique<Watch>(&health_, std::move(sources));
}

}  // namespace wdelta
