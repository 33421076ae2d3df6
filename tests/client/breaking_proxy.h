// Stands between a client and the real services, and breaks what it is told to.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "client/cpp/client.h"
#include "tests/server/test_server.h"

namespace wdelta::testing {

inline constexpr size_t kSentPieceBytes = 1'000;

// Forwards what a pull calls; pieces of deltas are cut into small ones.
class BreakingProxy final : public v1::Fetch::Service, public v1::Models::Service {
 public:
  explicit BreakingProxy(TestServer& server);
  ~BreakingProxy() override;
  Client& client() { return *client_; }

  // FetchDelta breaks with UNAVAILABLE after so many pieces, so many times.
  int break_after_pieces = 0;
  int breaks = 0;
  // The first pieces of the delta have other bytes, but the right checksum.
  bool has_bad_content = false;
  // Called once, between two pieces of a delta, on a thread of the proxy.
  std::function<void()> in_between;
  std::vector<v1::FetchDeltaRequest> delta_requests;
  int files_fetched = 0;
  uint64_t delta_bytes = 0;  // that went over the wire

 private:
  grpc::Status GetModel(grpc::ServerContext*, const v1::GetModelRequest* request,
                        v1::Model* response) override;
  grpc::Status FetchFile(grpc::ServerContext*, const v1::FetchFileRequest* request,
                         grpc::ServerWriter<v1::FetchFileResponse>* writer) override;
  grpc::Status FetchDelta(grpc::ServerContext*, const v1::FetchDeltaRequest* request,
                          grpc::ServerWriter<v1::FetchFileResponse>* writer) override;

  TestServer& server_;
  const TempFolder socket_folder_;
  std::string address_;
  std::unique_ptr<grpc::Server> proxy_;
  std::unique_ptr<Client> client_;
  absl::Mutex mutex_;
};

}  // namespace wdelta::testing
