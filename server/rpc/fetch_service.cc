#include "server/rpc/fetch_service.h"

#include "server/rpc/fetch_producers.h"
#include "server/rpc/fetch_reactor.h"

namespace wdelta {

// A request lives as long as its call; a reactor is never opened after the call's end.

grpc::ServerWriteReactor<v1::FetchTensorsResponse>* FetchService::FetchTensors(
    grpc::CallbackServerContext* context, const v1::FetchTensorsRequest* request) {
  return FetchReactor<v1::FetchTensorsResponse>::Start(
      &environment_, "Fetch.FetchTensors", context,
      [this, request] { return OpenTensors(environment_.store(), *request); });
}

grpc::ServerWriteReactor<v1::FetchFileResponse>* FetchService::FetchFile(
    grpc::CallbackServerContext* context, const v1::FetchFileRequest* request) {
  return FetchReactor<v1::FetchFileResponse>::Start(
      &environment_, "Fetch.FetchFile", context,
      [this, request] { return OpenFile(environment_.store(), *request); });
}

grpc::ServerWriteReactor<v1::FetchFileResponse>* FetchService::FetchDelta(
    grpc::CallbackServerContext* context, const v1::FetchDeltaRequest* request) {
  return FetchReactor<v1::FetchFileResponse>::Start(
      &environment_, "Fetch.FetchDelta", context,
      [this, request] { return OpenDelta(environment_.store(), *request); });
}

}  // namespace wdelta
