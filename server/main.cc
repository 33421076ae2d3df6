// wdeltad, the daemon: options, log, data folder, storage, engine, workers,
// services, serve, drain.
//
// Exit codes: 0 stopped as asked, 1 cannot start or serve, 2 bad configuration.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "server/config.h"
#include "server/grpc_server.h"
#include "server/http/http_server.h"
#include "server/jobs/upkeep.h"
#include "server/jobs/worker_pool.h"
#include "server/log.h"
#include "server/memory_plan.h"
#include "server/offline.h"
#include "server/rpc/rpc_environment.h"
#include "server/rpc/services.h"
#include "storage/backup/deletion_gate.h"
#include "storage/backup/store_backup.h"
#include "storage/base/clock.h"
#include "storage/base/file_system.h"
#include "storage/base/status_macros.h"
#include "storage/base/stop_signals.h"
#include "storage/blobs/rocksdb_blob_store.h"
#include "storage/catalog/rocksdb_catalog.h"
#include "storage/engine/data_dir.h"
#include "storage/engine/model_store.h"

namespace wdelta {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitBadConfig = 2;

// As the engine has it.
absl::Duration UploadTtlFor(const Config& config) {
  return config.upload_ttl == absl::ZeroDuration() ? absl::InfiniteDuration() : config.upload_ttl;
}

// Objects are destroyed in reverse order: server, workers, engine, storage, lock.
absl::Status Serve(const Config& config, spdlog::logger& log) {
  WDELTA_ASSIGN_OR_RETURN(const std::unique_ptr<StopSignals> signals, StopSignals::Install());

  WDELTA_ASSIGN_OR_RETURN(const DataDir data_dir, DataDir::Open(config.data_dir));
  WDELTA_ASSIGN_OR_RETURN(
      const std::unique_ptr<RocksdbBlobStore> blobs,
      RocksdbBlobStore::Open(data_dir.blobs_path(), BlobStoreOptionsFor(config)));
  WDELTA_ASSIGN_OR_RETURN(const std::unique_ptr<RocksdbCatalog> catalog,
                          RocksdbCatalog::Open(data_dir.catalog_path(), CatalogOptionsFor(config)));
  const std::unique_ptr<FileSystem> files = NewPosixFileSystem();
  const SystemClock clock;
  absl::Mutex deletion_gate;
  GatedBlobStore gated_blobs(blobs.get(), &deletion_gate);
  GatedFileSystem gated_files(files.get(), &deletion_gate);
  WDELTA_ASSIGN_OR_RETURN(
      const std::unique_ptr<StoreBackup> backups,
      StoreBackup::Open({catalog.get(), blobs.get(), &deletion_gate, files.get(), &clock,
                         data_dir.path(), data_dir.staging_path(), data_dir.backup_path()}));

  ModelStoreOptions store_options;
  store_options.staging_dir = data_dir.staging_path();
  store_options.codec_threads = config.codec_threads;
  store_options.parent_cache_bytes = ParentCacheBytesFor(config);
  store_options.max_open_uploads = config.max_open_uploads;
  store_options.upload_ttl = UploadTtlFor(config);
  store_options.min_free_bytes = config.min_free_bytes;
  store_options.storage_policy = {config.max_chain_depth, config.max_fetch_cost};
  ModelStore store({&gated_blobs, catalog.get(), &gated_files, &clock}, store_options);
  WDELTA_RETURN_IF_ERROR(store.Recover());

  const RpcOptions rpc_options{MaxFetchesFor(config), config.max_open_uploads, backups.get()};
  RpcEnvironment environment(&store, &log, rpc_options);
  RpcServices services(&environment);
  WorkerPool workers(
      &store.jobs(),
      [&store](Job job, std::function<bool()> stopping) {
        return store.runner().Run(std::move(job), std::move(stopping));
      },
      config.workers, &log);
  Upkeep upkeep(&store, {config.gc_interval, UploadTtlFor(config)}, &log);

  WDELTA_ASSIGN_OR_RETURN(const std::unique_ptr<GrpcServer> server,
                          GrpcServer::Start(config.listen, &services));
  std::vector<std::string> addresses = server->addresses();
  std::unique_ptr<HttpServer> http;
  if (!config.http_listen.empty()) {
    WDELTA_ASSIGN_OR_RETURN(
        http, HttpServer::Start({config.http_listen, config.http_max_connections},
                                {&store, catalog.get(), files.get(), &clock, &environment.fetches(),
                                 &log, data_dir.incoming_path()}));
    addresses.push_back("http://" + http->address());
  }
  if (!config.address_file.empty()) {
    WDELTA_RETURN_IF_ERROR(WriteAddressFile(config.address_file, addresses));
  }
  log.info("wdeltad {} serves {} on {}", WDELTA_VERSION, data_dir.path(),
           absl::StrJoin(addresses, ", "));
  if (rpc_options.max_fetches < config.max_fetches) {
    log.info("memory_limit allows {} fetches at once, not {}", rpc_options.max_fetches,
             config.max_fetches);
  }

  log.info("signal {}: stopping, running calls have {} ms", signals->Wait(), config.drain_grace_ms);
  environment.StartDraining();
  upkeep.RequestStop();
  workers.RequestStop();
  const absl::Time end = absl::Now() + absl::Milliseconds(config.drain_grace_ms);
  if (http != nullptr) http->StopAccepting();
  server->Drain(absl::Milliseconds(config.drain_grace_ms));
  if (http != nullptr) http->Drain(std::max(end - absl::Now(), absl::ZeroDuration()));
  log.info("drained");
  return absl::OkStatus();
}

int ExitOf(const absl::Status& status) {
  if (status.ok()) return 0;
  std::fprintf(stderr, "wdeltad: %s\n", std::string(status.message()).c_str());
  return kExitFailure;
}

int Main(const std::vector<std::string>& arguments) {
  const absl::StatusOr<LoadedConfig> loaded = LoadConfig(arguments, SystemConfigSources());
  if (!loaded.ok()) {
    std::fprintf(stderr, "wdeltad: %s\n", std::string(loaded.status().message()).c_str());
    return kExitBadConfig;
  }
  switch (loaded->action) {
    case ConfigAction::kPrintVersion:
      std::printf("wdeltad %s\n", WDELTA_VERSION);
      return 0;
    case ConfigAction::kValidateConfig:
      std::printf("wdeltad: the configuration is valid\n");
      return 0;
    case ConfigAction::kPrintHelp:
    case ConfigAction::kPrintConfig:
      std::fputs(loaded->text.c_str(), stdout);
      return 0;
    case ConfigAction::kVerifyBackup:
      return ExitOf(VerifyBackupsOffline(loaded->backup));
    case ConfigAction::kRestore:
      return ExitOf(RestoreOffline(loaded->backup, loaded->config.data_dir));
    case ConfigAction::kServe:
      break;
  }
  const auto log = NewStderrLogger(loaded->config.log_level, loaded->config.log_format);
  const absl::Status status = Serve(loaded->config, *log);
  if (status.ok()) {
    log->info("stopped");
    return 0;
  }
  log->error("{}", std::string(status.message()));
  return kExitFailure;
}

}  // namespace
}  // namespace wdelta

int main(int argc, char** argv) {
  return wdelta::Main(std::vector<std::string>(argv + 1, argv + argc));
}
