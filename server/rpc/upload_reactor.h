// The stream of pieces of an upload.
#pragma once

#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "server/rpc/rpc_environment.h"
#include "wdelta/v1/uploads.pb.h"

namespace wdelta {

// One piece at a time: the next is read when the last is written, which is the
// back-pressure. The reactor owns itself and goes with its rpc.
grpc::ServerReadReactor<v1::WriteEntriesRequest>* StartUploadReactor(
    RpcEnvironment* environment, grpc::CallbackServerContext* context,
    v1::WriteEntriesResponse* response);

}  // namespace wdelta
