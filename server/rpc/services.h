// All gRPC services of the daemon.
#pragma once

#include <string>
#include <vector>

#include "grpcpp/server_builder.h"
#include "server/rpc/admin_service.h"
#include "server/rpc/compare_service.h"
#include "server/rpc/fetch_service.h"
#include "server/rpc/jobs_service.h"
#include "server/rpc/lineage_service.h"
#include "server/rpc/maintenance_service.h"
#include "server/rpc/merge_service.h"
#include "server/rpc/models_service.h"
#include "server/rpc/rpc_environment.h"
#include "server/rpc/uploads_service.h"

namespace wdelta {

// Must outlive the server. Does not own the environment.
class RpcServices {
 public:
  explicit RpcServices(RpcEnvironment* environment);

  RpcEnvironment& environment() const { return environment_; }

  // Adds the services, and the message sizes that they need.
  void RegisterTo(grpc::ServerBuilder& builder);

  // For the health service, e.g. `wdelta.v1.Models`.
  static std::vector<std::string> Names();

 private:
  RpcEnvironment& environment_;
  AdminService admin_;
  CompareService compare_;
  FetchService fetch_;
  JobsService jobs_;
  LineageService lineage_;
  MaintenanceService maintenance_;
  MergeService merge_;
  ModelsService models_;
  UploadsService uploads_;
};

}  // namespace wdelta
