#include "server/rpc/fetch_service.h"

#include <functional>
#include <utility>

#include "server/rpc/delta_producer.h"
#include "server/rpc/fetch_producers.h"
#include "server/rpc/fetch_reactor.h"
#include "server/rpc/piece_message.h"
#include "server/rpc/tensor_producer.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

using CheckAlive = std::function<absl::Status()>;

// `open(request, call, check_alive)` makes the producer if the caller may make the request; it
// runs in a pool thread. gRPC keeps the request's bytes until the call is over; a fetch that waits
// for others holds nothing besides.
template <typename Request, typename Response, typename Open>
FetchService::Reactor* Start(RpcEnvironment& environment, std::string_view method,
                             grpc::CallbackServerContext* context, const grpc::ByteBuffer& bytes,
                             Open open) {
  return FetchReactor<Response>::Start(
      &environment, method, context, bytes.Length(),
      [open = std::move(open), &bytes](RpcCall& call, const CheckAlive& check_alive)
          -> absl::StatusOr<std::unique_ptr<FetchProducer<Response>>> {
        Request request;
        WDELTA_RETURN_IF_ERROR(ParseRequest(bytes, request));
        WDELTA_RETURN_IF_ERROR(call.CheckRequest(request));
        return open(request, call, check_alive);
      });
}

}  // namespace

FetchService::Reactor* FetchService::FetchTensors(grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* request) {
  using Request = v1::FetchTensorsRequest;
  return Start<Request, v1::FetchTensorsResponse>(
      environment_, "Fetch.FetchTensors", context, *request,
      [this](const Request& parsed, const RpcCall&, const CheckAlive& check_alive) {
        return OpenTensors(environment_.store(), parsed, check_alive);
      });
}

FetchService::Reactor* FetchService::FetchFile(grpc::CallbackServerContext* context,
                                               const grpc::ByteBuffer* request) {
  using Request = v1::FetchFileRequest;
  return Start<Request, v1::FetchFileResponse>(
      environment_, "Fetch.FetchFile", context, *request,
      [this](const Request& parsed, const RpcCall&, const CheckAlive&) {
        return OpenFile(environment_.store(), parsed);
      });
}

FetchService::Reactor* FetchService::FetchDelta(grpc::CallbackServerContext* context,
                                                const grpc::ByteBuffer* request) {
  using Request = v1::FetchDeltaRequest;
  return Start<Request, v1::FetchFileResponse>(
      environment_, "Fetch.FetchDelta", context, *request,
      [this](const Request& parsed, const RpcCall& call, const CheckAlive&) {
        return OpenDelta(environment_, parsed, call.name_check());
      });
}

}  // namespace wdelta
