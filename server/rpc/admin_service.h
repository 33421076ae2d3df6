// wdelta.v1.Admin: what this server is, and backups.
#pragma once

#include "server/rpc/rpc_environment.h"
#include "wdelta/v1/admin.grpc.pb.h"

namespace wdelta {

// Does not own the environment. gRPC calls it from any thread.
class AdminService final : public v1::Admin::CallbackService {
 public:
  explicit AdminService(RpcEnvironment* environment) : environment_(*environment) {}

  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const v1::GetServerInfoRequest* request,
                                          v1::ServerInfo* response) override;
  grpc::ServerWriteReactor<v1::BackupResponse>* Backup(grpc::CallbackServerContext* context,
                                                       const v1::BackupRequest* request) override;

 private:
  RpcEnvironment& environment_;
};

}  // namespace wdelta
