// wdelta.v1.Compare over the engine's comparison of models.
#pragma once

#include "server/rpc/rpc_environment.h"
#include "wdelta/v1/compare.grpc.pb.h"

namespace wdelta {

// Does not own the environment. gRPC calls it from any thread.
class CompareService final : public v1::Compare::CallbackService {
 public:
  explicit CompareService(RpcEnvironment* environment) : environment_(*environment) {}

  grpc::ServerWriteReactor<v1::DiffResponse>* Diff(grpc::CallbackServerContext* context,
                                                   const v1::DiffRequest* request) override;
  grpc::ServerWriteReactor<v1::BlameResponse>* Blame(grpc::CallbackServerContext* context,
                                                     const v1::BlameRequest* request) override;

 private:
  RpcEnvironment& environment_;
};

}  // namespace wdelta
