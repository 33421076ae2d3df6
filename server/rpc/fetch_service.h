// wdelta.v1.Fetch over the engine's cursors.
#pragma once

#include "server/rpc/rpc_environment.h"
#include "wdelta/v1/fetch.grpc.pb.h"

namespace wdelta {

// Does not own the environment. gRPC calls it from any thread.
class FetchService final : public v1::Fetch::CallbackService {
 public:
  explicit FetchService(RpcEnvironment* environment) : environment_(*environment) {}

  grpc::ServerWriteReactor<v1::FetchTensorsResponse>* FetchTensors(
      grpc::CallbackServerContext* context, const v1::FetchTensorsRequest* request) override;
  grpc::ServerWriteReactor<v1::FetchFileResponse>* FetchFile(
      grpc::CallbackServerContext* context, const v1::FetchFileRequest* request) override;
  grpc::ServerWriteReactor<v1::FetchFileResponse>* FetchDelta(
      grpc::CallbackServerContext* context, const v1::FetchDeltaRequest* request) override;

 private:
  RpcEnvironment& environment_;
};

}  // namespace wdelta
