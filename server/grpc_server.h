// The gRPC server: addresses, health, reflection, drain.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/server.h"
#include "server/rpc/services.h"

namespace wdelta {

struct GrpcServerOptions {
  std::vector<std::string> listen;
  bool reflection = true;
};

// Serves from the start of its life until Drain or the destructor. One thread at a
// time.
class GrpcServer {
 public:
  // `services` must outlive the server. UNAVAILABLE naming the address that cannot
  // be bound.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(const GrpcServerOptions& options,
                                                           RpcServices* services);
  ~GrpcServer();

  // With the ports that were chosen.
  const std::vector<std::string>& addresses() const { return addresses_; }

  // Health says NOT_SERVING, nothing is accepted any more; calls that still run
  // after `grace` are cancelled. Returns when all have ended.
  void Drain(absl::Duration grace);

 private:
  GrpcServer(std::unique_ptr<grpc::Server> server, std::vector<std::string> addresses);

  const std::unique_ptr<grpc::Server> server_;
  const std::vector<std::string> addresses_;
};

// One address a line, complete or not at all (by rename).
absl::Status WriteAddressFile(const std::string& path, const std::vector<std::string>& addresses);

}  // namespace wdelta
