#include "server/daemon.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "server/grpc_server.h"
#include "server/http/http_server.h"
#include "server/jobs/upkeep.h"
#include "server/jobs/worker_pool.h"
#include "server/memory_plan.h"
#include "server/operations/operations.h"
#include "server/rpc/rpc_environment.h"
#include "server/rpc/services.h"
#include "server/security.h"
#include "storage/backup/deletion_gate.h"
#include "storage/backup/store_backup.h"
#include "storage/base/clock.h"
#include "storage/base/error.h"
#include "storage/base/file_system.h"
#include "storage/base/status_macros.h"
#include "storage/base/stop_signals.h"
#include "storage/blobs/rocksdb_blob_store.h"
#include "storage/catalog/rocksdb_catalog.h"
#include "storage/engine/disk/data_dir.h"
#include "storage/engine/model_store.h"

namespace wdelta {
namespace {

// As the engine has it.
absl::Duration UploadTtlFor(const Config& config) {
  return config.upload_ttl == absl::ZeroDuration() ? absl::InfiniteDuration() : config.upload_ttl;
}

ModelStoreOptions StoreOptionsFor(const Config& config, const DataDir& data_dir) {
  ModelStoreOptions options;
  options.staging_dir = data_dir.staging_path();
  options.codec_threads = config.codec_threads;
  options.chunk_cache_bytes = ChunkCacheBytesFor(config);
  options.max_open_uploads = config.max_open_uploads;
  options.upload_ttl = UploadTtlFor(config);
  options.min_free_bytes = config.min_free_bytes;
  options.storage_policy = {config.max_chain_depth, config.max_fetch_cost};
  return options;
}

// All that lies in the data folder, with its lock; destroyed in reverse order.
struct Storage {
  explicit Storage(DataDir dir) : data_dir(std::move(dir)) {}

  DataDir data_dir;
  std::unique_ptr<RocksdbBlobStore> blobs;
  std::unique_ptr<RocksdbCatalog> catalog;
  const std::unique_ptr<FileSystem> files = NewPosixFileSystem();
  const SystemClock clock;
  absl::Mutex deletion_gate;
  // Through which the engine deletes.
  std::unique_ptr<GatedBlobStore> gated_blobs;
  std::unique_ptr<GatedFileSystem> gated_files;
  std::unique_ptr<StoreBackup> backups;
};

// Of both databases before either is changed, so that an error names all that is lost.
absl::Status CheckComplete(const DataDir& dir, const RocksdbBlobStoreOptions& blob_options,
                           const RocksdbCatalogOptions& catalog_options) {
  const absl::Status blobs = RocksdbBlobStore::CheckComplete(dir.blobs_path(), blob_options);
  const absl::Status catalog = RocksdbCatalog::CheckComplete(dir.catalog_path(), catalog_options);
  if (blobs.ok()) return catalog;
  if (catalog.ok()) return blobs;
  return MakeError(blobs.code(), ErrorReason(blobs),
                   absl::StrCat(blobs.message(), "; ", catalog.message()));
}

absl::StatusOr<std::unique_ptr<Storage>> OpenStorage(const Config& config, spdlog::logger& log) {
  RocksdbBlobStoreOptions blob_options = BlobStoreOptionsFor(config);
  blob_options.warn = [&log](absl::string_view line) {
    log.warn("rocksdb, blobs: {}", std::string(line));
  };
  RocksdbCatalogOptions catalog_options = CatalogOptionsFor(config);
  catalog_options.warn = [&log](absl::string_view line) {
    log.warn("rocksdb, catalog: {}", std::string(line));
  };
  if (config.accept_lost_writes) {
    log.warn("accept_lost_writes is set: what a damaged log has lost is told and not refused");
    blob_options.accept_lost_writes = [&log](absl::string_view message) {
      log.error("lost writes accepted: {}", std::string(message));
    };
    catalog_options.accept_lost_writes = blob_options.accept_lost_writes;
  }
  WDELTA_ASSIGN_OR_RETURN(DataDir data_dir, DataDir::Open(config.data_dir));
  auto storage = std::make_unique<Storage>(std::move(data_dir));
  const DataDir& dir = storage->data_dir;
  WDELTA_RETURN_IF_ERROR(CheckComplete(dir, blob_options, catalog_options));
  blob_options.is_complete = true;
  catalog_options.is_complete = true;
  // Whether there is an HTTP server or not.
  WDELTA_RETURN_IF_ERROR(storage->files->RemoveAll(dir.incoming_path()));
  WDELTA_ASSIGN_OR_RETURN(storage->blobs, RocksdbBlobStore::Open(dir.blobs_path(), blob_options));
  WDELTA_ASSIGN_OR_RETURN(storage->catalog,
                          RocksdbCatalog::Open(dir.catalog_path(), catalog_options));
  absl::Mutex* const gate = &storage->deletion_gate;
  storage->gated_blobs = std::make_unique<GatedBlobStore>(storage->blobs.get(), gate);
  storage->gated_files = std::make_unique<GatedFileSystem>(storage->files.get(), gate);
  WDELTA_ASSIGN_OR_RETURN(
      storage->backups,
      StoreBackup::Open({storage->catalog.get(), storage->blobs.get(), gate, storage->files.get(),
                         &storage->clock, dir.path(), dir.staging_path(), dir.backup_path()}));
  return storage;
}

std::string UrlOf(const std::unique_ptr<TlsCertificate>& tls, absl::string_view address) {
  return absl::StrCat(tls == nullptr ? "http://" : "https://", address);
}

struct Servers {
  std::unique_ptr<GrpcServer> grpc;
  std::unique_ptr<HttpServer> http;  // null: none
};

// Tells the addresses once all serve.
absl::StatusOr<Servers> StartServers(const Config& config, const Security& security,
                                     RpcServices& services,
                                     const HttpServer::Dependencies& http_dependencies,
                                     Operations& operations) {
  Servers servers;
  WDELTA_ASSIGN_OR_RETURN(
      servers.grpc,
      GrpcServer::Start(config.listen, &services, ReadAheadBytesFor(config), security.credentials));
  std::vector<std::string> addresses = servers.grpc->addresses();
  if (!config.http_listen.empty()) {
    WDELTA_ASSIGN_OR_RETURN(
        servers.http,
        HttpServer::Start({config.http_listen, config.http_max_connections}, http_dependencies));
    addresses.push_back(UrlOf(security.http_tls, servers.http->address()));
  }
  operations.SetServing();
  if (!operations.address().empty()) {
    addresses.push_back(
        absl::StrCat("operations ", UrlOf(security.operations_tls, operations.address())));
  }
  if (!config.address_file.empty()) {
    WDELTA_RETURN_IF_ERROR(WriteAddressFile(config.address_file, addresses));
  }
  http_dependencies.log->info("wdeltad {} serves {} on {}", WDELTA_VERSION, config.data_dir,
                              absl::StrJoin(addresses, ", "));
  return servers;
}

// Both have the same time to let running calls end.
void Drain(const Servers& servers, absl::Duration grace) {
  const absl::Time end = absl::Now() + grace;
  if (servers.http != nullptr) servers.http->StopAccepting();
  servers.grpc->Drain(grace);
  if (servers.http != nullptr) {
    servers.http->Drain(std::max(end - absl::Now(), absl::ZeroDuration()));
  }
}

}  // namespace

// Objects are destroyed in reverse order: servers, workers, engine, storage, lock, operations,
// certificates.
absl::Status RunDaemon(const Config& config, spdlog::logger& log) {
  WDELTA_ASSIGN_OR_RETURN(const std::unique_ptr<StopSignals> signals, StopSignals::Install());
  WDELTA_ASSIGN_OR_RETURN(const Security security, OpenSecurity(config));
  WDELTA_ASSIGN_OR_RETURN(
      const std::unique_ptr<Operations> operations,
      Operations::Start(config.operations_listen, &log, security.operations_tls.get()));
  WDELTA_ASSIGN_OR_RETURN(const std::unique_ptr<Storage> storage, OpenStorage(config, log));

  ModelStore store({storage->gated_blobs.get(), storage->catalog.get(), storage->gated_files.get(),
                    &storage->clock},
                   StoreOptionsFor(config, storage->data_dir));
  WDELTA_RETURN_IF_ERROR(store.Recover());

  RpcOptions rpc_options{MaxFetchesFor(config), config.max_open_uploads};
  rpc_options.max_downloads = MaxDownloadsFor(config);
  rpc_options.max_waiting_fetches = MaxWaitingFetchesFor(config);
  rpc_options.backup_maker = storage->backups.get();
  rpc_options.max_write_streams = MaxWriteStreamsFor(config);
  rpc_options.max_waiting_write_streams = MaxWaitingWriteStreamsFor(config);
  rpc_options.authenticator = security.authenticator.get();
  RpcEnvironment environment(&store, &log, rpc_options);
  RpcServices services(&environment);
  HttpStats http_stats;
  const auto watch =
      operations->WatchParts({&store,
                              &environment,
                              &http_stats,
                              {{"blobs", [&storage] { return storage->blobs->Stats(); }},
                               {"catalog", [&storage] { return storage->catalog->Stats(); }}}});
  WorkerPool workers(
      &store.jobs(),
      [&store](Job job, std::function<bool()> stopping) {
        return store.runner().Run(std::move(job), std::move(stopping));
      },
      config.workers, &log);
  Upkeep upkeep(&store, {config.gc_interval, UploadTtlFor(config)}, &log);
  const HttpServer::Dependencies http_dependencies{&store,
                                                   storage->catalog.get(),
                                                   storage->files.get(),
                                                   &storage->clock,
                                                   &environment.fetches(),
                                                   &environment.downloads(),
                                                   &log,
                                                   storage->data_dir.incoming_path(),
                                                   &http_stats,
                                                   security.authenticator.get(),
                                                   security.http_tls.get()};
  const std::unique_ptr<PeriodicTask> reloads[] = {
      StartTokenReload(security.authenticator.get(), &log),
      StartTlsReload(security.http_tls.get(), &log),
      StartTlsReload(security.operations_tls.get(), &log)};
  WarnIfOpen(config, log);
  WDELTA_ASSIGN_OR_RETURN(const Servers servers,
                          StartServers(config, security, services, http_dependencies, *operations));
  if (rpc_options.max_fetches < config.max_fetches) {
    log.info("memory_limit allows {} fetches at once, not {}", rpc_options.max_fetches,
             config.max_fetches);
  }

  log.info("signal {}: stopping, running calls have {} ms", signals->Wait(), config.drain_grace_ms);
  operations->SetDraining();
  environment.StartDraining();
  upkeep.RequestStop();
  workers.RequestStop();
  Drain(servers, absl::Milliseconds(config.drain_grace_ms));
  log.info("drained");
  return absl::OkStatus();
}

}  // namespace wdelta
