// wdelta.v1.Uploads over the engine; the stream of pieces is upload_reactor.h.
#pragma once

#include "server/rpc/rpc_environment.h"
#include "wdelta/v1/uploads.grpc.pb.h"

namespace wdelta {

// Does not own the environment. gRPC calls it from any thread.
class UploadsService final : public v1::Uploads::CallbackService {
 public:
  explicit UploadsService(RpcEnvironment* environment) : environment_(*environment) {}

  grpc::ServerUnaryReactor* StartUpload(grpc::CallbackServerContext* context,
                                        const v1::StartUploadRequest* request,
                                        v1::Upload* response) override;
  grpc::ServerUnaryReactor* AddEntries(grpc::CallbackServerContext* context,
                                       const v1::AddEntriesRequest* request,
                                       v1::Upload* response) override;
  grpc::ServerReadReactor<v1::WriteEntriesRequest>* WriteEntries(
      grpc::CallbackServerContext* context, v1::WriteEntriesResponse* response) override;
  grpc::ServerUnaryReactor* FindContent(grpc::CallbackServerContext* context,
                                        const v1::FindContentRequest* request,
                                        v1::FindContentResponse* response) override;
  grpc::ServerUnaryReactor* GetUpload(grpc::CallbackServerContext* context,
                                      const v1::GetUploadRequest* request,
                                      v1::Upload* response) override;
  grpc::ServerUnaryReactor* ListUploads(grpc::CallbackServerContext* context,
                                        const v1::ListUploadsRequest* request,
                                        v1::ListUploadsResponse* response) override;
  grpc::ServerUnaryReactor* FinishUpload(grpc::CallbackServerContext* context,
                                         const v1::FinishUploadRequest* request,
                                         v1::FinishUploadResponse* response) override;
  grpc::ServerUnaryReactor* CancelUpload(grpc::CallbackServerContext* context,
                                         const v1::CancelUploadRequest* request,
                                         google::protobuf::Empty* response) override;

 private:
  RpcEnvironment& environment_;
};

}  // namespace wdelta
