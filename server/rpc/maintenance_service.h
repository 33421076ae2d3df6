// wdelta.v1.Maintenance over the engine's garbage collection and retention rules.
#pragma once

#include "server/rpc/rpc_environment.h"
#include "wdelta/v1/maintenance.grpc.pb.h"

namespace wdelta {

// Does not own the environment. gRPC calls it from any thread.
class MaintenanceService final : public v1::Maintenance::CallbackService {
 public:
  explicit MaintenanceService(RpcEnvironment* environment) : environment_(*environment) {}

  grpc::ServerWriteReactor<v1::PlanGcResponse>* PlanGc(grpc::CallbackServerContext* context,
                                                       const v1::PlanGcRequest* request) override;
  grpc::ServerUnaryReactor* StartGc(grpc::CallbackServerContext* context,
                                    const v1::StartGcRequest* request,
                                    v1::StartGcResponse* response) override;
  grpc::ServerUnaryReactor* StartScrub(grpc::CallbackServerContext* context,
                                       const v1::StartScrubRequest* request,
                                       v1::StartScrubResponse* response) override;
  grpc::ServerUnaryReactor* SetRetentionRule(grpc::CallbackServerContext* context,
                                             const v1::SetRetentionRuleRequest* request,
                                             v1::RetentionRule* response) override;
  grpc::ServerUnaryReactor* ListRetentionRules(grpc::CallbackServerContext* context,
                                               const v1::ListRetentionRulesRequest* request,
                                               v1::ListRetentionRulesResponse* response) override;
  grpc::ServerUnaryReactor* DeleteRetentionRule(grpc::CallbackServerContext* context,
                                                const v1::DeleteRetentionRuleRequest* request,
                                                google::protobuf::Empty* response) override;

 private:
  RpcEnvironment& environment_;
};

}  // namespace wdelta
