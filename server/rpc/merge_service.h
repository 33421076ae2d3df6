// wdelta.v1.Merge over the engine's merges.
#pragma once

#include "absl/status/statusor.h"
#include "server/rpc/rpc_environment.h"
#include "storage/engine/merge/merges.h"
#include "wdelta/v1/merge.grpc.pb.h"

namespace wdelta {

// INVALID_ARGUMENT (`BAD_METHOD`); the engine checks the rest. Pure; any thread.
absl::StatusOr<MergeParams> FromProto(const v1::MergeModelsRequest& request);

// Does not own the environment. gRPC calls it from any thread.
class MergeService final : public v1::Merge::CallbackService {
 public:
  explicit MergeService(RpcEnvironment* environment) : environment_(*environment) {}

  grpc::ServerUnaryReactor* MergeModels(grpc::CallbackServerContext* context,
                                        const v1::MergeModelsRequest* request,
                                        v1::MergeModelsResponse* response) override;

 private:
  RpcEnvironment& environment_;
};

}  // namespace wdelta
