// All services in this process, over an engine whose blobs and catalog lie in RAM.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "grpcpp/grpcpp.h"
#include "server/rpc/rpc_environment.h"
#include "server/rpc/services.h"
#include "storage/base/clock.h"
#include "storage/base/file_system.h"
#include "storage/blobs/memory_blob_store.h"
#include "storage/catalog/memory_catalog.h"
#include "storage/engine/model_store.h"
#include "tests/engine/hooked_storage.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {

// Code and reason of a status, e.g. `NOT_FOUND MODEL_NOT_FOUND`; `OK`.
std::string CodeAndReason(const grpc::Status& status);

struct Fetched {
  grpc::Status status;
  v1::FileHeader header;
  std::string data;
  std::optional<v1::Trailer> trailer;
};

// No worker runs jobs: tests call RunJobs.
class TestServer {
 public:
  // `files` holds what is staged, and must outlive the server; null: the real ones.
  explicit TestServer(const RpcOptions& options = {}, FileSystem* files = nullptr,
                      uint64_t chunk_cache_bytes = ModelStoreOptions().chunk_cache_bytes);
  ~TestServer();

  ModelStore& store() { return *store_; }
  RpcEnvironment& environment() { return *environment_; }
  // For hooks.
  HookedBlobStore& blobs() { return hooked_blobs_; }
  // Info and above; to nowhere unless a test adds a sink.
  spdlog::logger& log() { return *log_; }
  // Calls go over a socket from now on, as those of real clients, not within the process.
  void UseSocket();
  // Calls have this token from now on.
  void UseToken(const std::string& token);
  // Within the process; its calls have no token.
  std::shared_ptr<grpc::Channel> NewChannel() { return server_->InProcessChannel({}); }
  // Runs what is in the queue, in this thread.
  void RunJobs();

  // Opens an upload and declares the files; returns its id. Fails the test on error.
  std::string Open(const v1::StartUploadRequest& request, const TestFiles& files);
  // Writes pieces in one stream.
  grpc::Status Write(const std::vector<v1::WriteEntriesRequest>& pieces,
                     v1::WriteEntriesResponse* response = nullptr);
  static std::vector<v1::WriteEntriesRequest> PiecesOf(const std::string& upload,
                                                       const TestFiles& files);
  grpc::Status Finish(const std::string& upload, v1::FinishUploadResponse* response);
  // All of the above; returns the model. Fails the test on error.
  v1::Model Push(const std::string& name, const TestFiles& files,
                 const std::vector<std::string>& parents = {});

  Fetched FetchFile(const v1::FetchFileRequest& request);
  Fetched FetchFile(const std::string& model, const std::string& path);

  std::unique_ptr<v1::Models::Stub> models;
  std::unique_ptr<v1::Uploads::Stub> uploads;
  std::unique_ptr<v1::Fetch::Stub> fetch;
  std::unique_ptr<v1::Jobs::Stub> jobs;
  std::unique_ptr<v1::Lineage::Stub> lineage;
  std::unique_ptr<v1::Maintenance::Stub> maintenance;
  std::unique_ptr<v1::Compare::Stub> compare;
  std::unique_ptr<v1::Merge::Stub> merge;
  std::unique_ptr<v1::Admin::Stub> admin;

 private:
  // Of a socket that has no file.
  std::string SocketAddress() const;
  void ConnectStubs(const std::shared_ptr<grpc::Channel>& channel);

  const TempFolder folder_;
  SystemClock clock_;
  MemoryBlobStore blobs_;
  HookedBlobStore hooked_blobs_{&blobs_};
  MemoryCatalog catalog_;
  std::unique_ptr<FileSystem> files_;
  std::unique_ptr<spdlog::logger> log_;
  std::unique_ptr<ModelStore> store_;
  std::unique_ptr<RpcEnvironment> environment_;
  std::unique_ptr<RpcServices> services_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace wdelta::testing
