// wdelta.v1.Models over the engine.
#pragma once

#include "absl/status/status.h"
#include "server/rpc/rpc_environment.h"
#include "wdelta/v1/models.grpc.pb.h"

namespace wdelta {

// Does not own the environment. gRPC calls it from any thread.
class ModelsService final : public v1::Models::CallbackService {
 public:
  explicit ModelsService(RpcEnvironment* environment) : environment_(*environment) {}

  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest* request,
                                     v1::Model* response) override;
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;
  grpc::ServerUnaryReactor* ListTensors(grpc::CallbackServerContext* context,
                                        const v1::ListTensorsRequest* request,
                                        v1::ListTensorsResponse* response) override;
  grpc::ServerUnaryReactor* UpdateModel(grpc::CallbackServerContext* context,
                                        const v1::UpdateModelRequest* request,
                                        v1::Model* response) override;
  grpc::ServerUnaryReactor* DeleteModel(grpc::CallbackServerContext* context,
                                        const v1::DeleteModelRequest* request,
                                        google::protobuf::Empty* response) override;
  grpc::ServerUnaryReactor* ExplainStorage(grpc::CallbackServerContext* context,
                                           const v1::ExplainStorageRequest* request,
                                           v1::StorageExplanation* response) override;
  grpc::ServerUnaryReactor* RepackModel(grpc::CallbackServerContext* context,
                                        const v1::RepackModelRequest* request,
                                        v1::RepackModelResponse* response) override;
  grpc::ServerUnaryReactor* SetTag(grpc::CallbackServerContext* context,
                                   const v1::SetTagRequest* request, v1::Tag* response) override;
  grpc::ServerUnaryReactor* DeleteTag(grpc::CallbackServerContext* context,
                                      const v1::DeleteTagRequest* request,
                                      google::protobuf::Empty* response) override;
  grpc::ServerUnaryReactor* ListTags(grpc::CallbackServerContext* context,
                                     const v1::ListTagsRequest* request,
                                     v1::ListTagsResponse* response) override;
  grpc::ServerUnaryReactor* ListTagHistory(grpc::CallbackServerContext* context,
                                           const v1::ListTagHistoryRequest* request,
                                           v1::ListTagHistoryResponse* response) override;

 private:
  RpcEnvironment& environment_;
};

}  // namespace wdelta
