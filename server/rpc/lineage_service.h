// wdelta.v1.Lineage over the engine's index of the lineage.
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
  grpc::ServerUnaryReactor* ListRoots(grpc::CallbackServerContext* context,
                                      const v1::ListRootsRequest* request,
                                      v1::ListRootsResponse* response) override;
  grpc::ServerUnaryReactor* ListLeaves(grpc::CallbackServerContext* context,
                                       const v1::ListLeavesRequest* request,
                                       v1::ListLeavesResponse* response) override;
  grpc::ServerUnaryReactor* ListChildren(grpc::CallbackServerContext* context,
                                         const v1::ListChildrenRequest* request,
                                         v1::ListChildrenResponse* response) override;
  grpc::ServerUnaryReactor* FindPath(grpc::CallbackServerContext* context,
                                     const v1::FindPathRequest* request,
                                     v1::FindPathResponse* response) override;
  grpc::ServerUnaryReactor* CommonAncestors(grpc::CallbackServerContext* context,
                                            const v1::CommonAncestorsRequest* request,
                                            v1::CommonAncestorsResponse* response) override;

 private:
  RpcEnvironment& environment_;
};

}  // namespace wdelta
