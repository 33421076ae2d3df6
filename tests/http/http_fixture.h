// The HTTP server in this process, over an engine whose blobs and catalog lie in RAM.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "httplib.h"
#include "nlohmann/json.hpp"
#include "server/http/http_server.h"
#include "server/rpc/admission_queue.h"
#include "spdlog/logger.h"
#include "storage/base/clock.h"
#include "storage/base/file_system.h"
#include "storage/blobs/memory_blob_store.h"
#include "storage/catalog/memory_catalog.h"
#include "storage/engine/model_store.h"
#include "tests/engine/hooked_storage.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/fault_file_system.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {

inline constexpr int kMaxFetches = 4;

class HttpTest : public ::testing::Test {
 protected:
  HttpTest();
  // Destroyed in the order that the engine wants.
  ~HttpTest() override;

  // Uploads a model, and stores it as its `.wdelta`. Fails the test on error.
  Model Push(const std::string& name, const TestFiles& files);
  // The same without the last step.
  Model Stage(const std::string& name, const TestFiles& files,
              const store::v1::FidelityPolicy& fidelity = {}, const std::string& parent = "");
  void RunJobs();

  // A client of its own connection.
  std::unique_ptr<httplib::Client> NewClient() const;
  httplib::Result Get(const std::string& target, const httplib::Headers& headers = {});
  httplib::Result Head(const std::string& target, const httplib::Headers& headers = {});
  // The JSON of an answer with 200; fails the test otherwise.
  nlohmann::json GetJson(const std::string& target);

  // Sends bytes as they are over a connection of their own, ends its sending side, and
  // returns all that comes back.
  std::string Raw(const std::string& bytes) const;

  HttpServer& server() { return *server_; }
  ModelStore& store() { return *store_; }
  Catalog& catalog() { return catalog_; }
  const Clock& clock() const { return clock_; }
  // Of content that was sent and not committed.
  size_t IncomingFiles() const { return files_.List(folder_ / "incoming")->size(); }
  AdmissionQueue& fetches() { return *fetches_; }
  AdmissionQueue& downloads() { return *downloads_; }
  // From the next StartServer on; outlives the server.
  void SetFetches(AdmissionQueue* fetches) { fetches_ = fetches; }
  // For hooks.
  HookedBlobStore& blobs() { return hooked_blobs_; }
  FaultFileSystem& files() { return files_; }
  int port() const { return port_; }
  void StartServer(int max_connections, const Pace& pace = {});
  void StopServer();
  // From the next StartServer on; outlives the server.
  void SetAuthenticator(const Authenticator* authenticator) { authenticator_ = authenticator; }
  // Likewise.
  void SetTls(const TlsCertificate* tls) { tls_ = tls; }
  // To nowhere unless a test adds a sink.
  spdlog::logger& log() { return *log_; }

 private:
  TempFolder folder_;
  SystemClock clock_;
  MemoryBlobStore blobs_;
  HookedBlobStore hooked_blobs_{&blobs_};
  MemoryCatalog catalog_;
  const std::unique_ptr<FileSystem> posix_files_;
  mutable FaultFileSystem files_;
  const std::unique_ptr<spdlog::logger> log_;
  std::unique_ptr<ModelStore> store_;
  AdmissionQueue own_fetches_{{.limit = kMaxFetches, .reason = "TOO_MANY_FETCHES"}};
  AdmissionQueue* fetches_ = &own_fetches_;
  std::unique_ptr<AdmissionQueue> downloads_;  // of the server
  const Authenticator* authenticator_ = nullptr;
  const TlsCertificate* tls_ = nullptr;
  std::unique_ptr<HttpServer> server_;
  std::unique_ptr<httplib::Client> client_;
  int port_ = 0;
};

// `<status> <X-Error-Code>`, or the status alone; what went wrong when there is no answer.
std::string StatusAndCode(const httplib::Result& result);

// An open connection to a port of this machine; closed by the destructor.
class RawConnection {
 public:
  explicit RawConnection(int port);
  ~RawConnection();
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;

  bool Send(const std::string& bytes) const;
  void EndSending() const;
  // What comes until the end, or until `enough` bytes have.
  std::string Receive(size_t enough = SIZE_MAX) const;

 private:
  int socket_ = -1;
};

}  // namespace wdelta::testing
