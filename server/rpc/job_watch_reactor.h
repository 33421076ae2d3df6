// The stream of states of one job.
#pragma once

#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "server/rpc/rpc_environment.h"
#include "wdelta/v1/jobs.pb.h"

namespace wdelta {

// Each watch has a thread of its own, at most kMaxJobWatches (RESOURCE_EXHAUSTED
// `TOO_MANY_WATCHES`). A slow client misses states in between, never the last one.
// UNAVAILABLE (`STOPPING`) when the server drains. The reactor owns itself and goes
// with its rpc, as does the request.
grpc::ServerWriteReactor<v1::Job>* StartJobWatchReactor(RpcEnvironment* environment,
                                                        grpc::CallbackServerContext* context,
                                                        const v1::WatchJobRequest* request);

}  // namespace wdelta
