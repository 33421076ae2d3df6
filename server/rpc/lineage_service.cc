#include "server/rpc/lineage_service.h"

#include "server/rpc/lineage_queries.h"
#include "server/rpc/unary.h"

namespace wdelta {
namespace {

template <typename Request, typename Response>
grpc::ServerUnaryReactor* Serve(RpcEnvironment& environment, std::string_view method,
                                grpc::CallbackServerContext* context, const Request* request,
                                Response* response) {
  return ServeUnary(environment, method, context, request, response,
                    [&environment](const Request& in, Response* out, const RpcCall& call) {
                      return Answer(environment.store(), in, out, call.name_check());
                    });
}

}  // namespace

grpc::ServerUnaryReactor* LineageService::Traverse(grpc::CallbackServerContext* context,
                                                   const v1::TraverseRequest* request,
                                                   v1::TraverseResponse* response) {
  return Serve(environment_, "Lineage.Traverse", context, request, response);
}

grpc::ServerUnaryReactor* LineageService::ListRoots(grpc::CallbackServerContext* context,
                                                    const v1::ListRootsRequest* request,
                                                    v1::ListRootsResponse* response) {
  return Serve(environment_, "Lineage.ListRoots", context, request, response);
}

grpc::ServerUnaryReactor* LineageService::ListLeaves(grpc::CallbackServerContext* context,
                                                     const v1::ListLeavesRequest* request,
                                                     v1::ListLeavesResponse* response) {
  return Serve(environment_, "Lineage.ListLeaves", context, request, response);
}

grpc::ServerUnaryReactor* LineageService::ListChildren(grpc::CallbackServerContext* context,
                                                       const v1::ListChildrenRequest* request,
                                                       v1::ListChildrenResponse* response) {
  return Serve(environment_, "Lineage.ListChildren", context, request, response);
}

grpc::ServerUnaryReactor* LineageService::FindPath(grpc::CallbackServerContext* context,
                                                   const v1::FindPathRequest* request,
                                                   v1::FindPathResponse* response) {
  return Serve(environment_, "Lineage.FindPath", context, request, response);
}

grpc::ServerUnaryReactor* LineageService::CommonAncestors(grpc::CallbackServerContext* context,
                                                          const v1::CommonAncestorsRequest* request,
                                                          v1::CommonAncestorsResponse* response) {
  return Serve(environment_, "Lineage.CommonAncestors", context, request, response);
}

}  // namespace wdelta
