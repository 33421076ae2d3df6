// wdelta.v1.Lineage over storage/lineage and the engine's models.
#pragma once

#include "server/rpc/rpc_environment.h"
#include "wdelta/v1/lineage.grpc.pb.h"

namespace wdelta {

// Does not own the environment. gRPC calls it from any thread.
class LineageService final : public v1::Lineage::CallbackService {
 public:
  explicit LineageService(RpcEnvironment* environment) : environment_(*environment) {}

  grpc::ServerUnaryReactor* Traverse(grpc::CallbackServerContext* context,
                                     const v1::TraverseRequest* request,
                                     v1::TraverseResponse* response) override;

 private:
  RpcEnvironment& environment_;
};

}  // namespace wdelta
