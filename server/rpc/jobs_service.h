// wdelta.v1.Jobs over the engine's queue; the watch is job_watch_reactor.h.
#pragma once

#include "server/rpc/rpc_environment.h"
#include "wdelta/v1/jobs.grpc.pb.h"

namespace wdelta {

// Does not own the environment. gRPC calls it from any thread.
class JobsService final : public v1::Jobs::CallbackService {
 public:
  explicit JobsService(RpcEnvironment* environment) : environment_(*environment) {}

  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext* context,
                                   const v1::GetJobRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* ListJobs(grpc::CallbackServerContext* context,
                                     const v1::ListJobsRequest* request,
                                     v1::ListJobsResponse* response) override;
  grpc::ServerWriteReactor<v1::Job>* WatchJob(grpc::CallbackServerContext* context,
                                              const v1::WatchJobRequest* request) override;
  grpc::ServerUnaryReactor* CancelJob(grpc::CallbackServerContext* context,
                                      const v1::CancelJobRequest* request,
                                      v1::Job* response) override;

 private:
  RpcEnvironment& environment_;
};

}  // namespace wdelta
