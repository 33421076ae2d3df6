// wdelta.v1.Fetch over the engine's cursors.
#pragma once

#include "server/rpc/rpc_environment.h"
#include "wdelta/v1/fetch.grpc.pb.h"

namespace wdelta {

// Messages are serialised here, so that gRPC need not copy the pieces.
using RawFetchService =
    v1::Fetch::WithRawCallbackMethod_FetchTensors<v1::Fetch::WithRawCallbackMethod_FetchFile<
        v1::Fetch::WithRawCallbackMethod_FetchDelta<v1::Fetch::Service>>>;

// Does not own the environment. gRPC calls it from any thread.
class FetchService final : public RawFetchService {
 public:
  using Reactor = grpc::ServerWriteReactor<grpc::ByteBuffer>;

  explicit FetchService(RpcEnvironment* environment) : environment_(*environment) {}

  Reactor* FetchTensors(grpc::CallbackServerContext* context,
                        const grpc::ByteBuffer* request) override;
  Reactor* FetchFile(grpc::CallbackServerContext* context,
                     const grpc::ByteBuffer* request) override;
  Reactor* FetchDelta(grpc::CallbackServerContext* context,
                      const grpc::ByteBuffer* request) override;

 private:
  RpcEnvironment& environment_;
};

}  // namespace wdelta
