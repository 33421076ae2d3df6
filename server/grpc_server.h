// The gRPC server: addresses, health, reflection, drain.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "server/rpc/services.h"

namespace wdelta {

// Serves from the start of its life until Drain or the destructor. One thread at a
// time.
class GrpcServer {
 public:
  // `services` must outlive the server. `credentials` are those of all addresses but Unix
  // sockets. Of a stream that nobody reads from, at most
  // `read_ahead_bytes` are received. UNAVAILABLE naming the address that cannot be bound.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(
      const std::vector<std::string>& listen, RpcServices* services, uint64_t read_ahead_bytes,
      std::shared_ptr<grpc::ServerCredentials> credentials);
  ~GrpcServer();

  // With the ports that were chosen.
  const std::vector<std::string>& addresses() const { return addresses_; }

  // Health says NOT_SERVING, further calls are refused; those that still run after
  // `grace` are cancelled. Returns when all have ended and all connections are closed.
  // After RpcEnvironment::StartDraining; may be repeated.
  void Drain(absl::Duration grace);

 private:
  GrpcServer(std::unique_ptr<grpc::Server> server, std::vector<std::string> addresses,
             ActiveCalls* calls);

  const std::unique_ptr<grpc::Server> server_;
  const std::vector<std::string> addresses_;
  ActiveCalls* const calls_;
};

// One address a line, complete or not at all (by rename).
absl::Status WriteAddressFile(const std::string& path, const std::vector<std::string>& addresses);

}  // namespace wdelta
