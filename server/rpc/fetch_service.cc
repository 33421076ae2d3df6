#include "server/rpc/fetch_service.h"

#include <utility>

#include "server/rpc/fetch_producers.h"
#include "server/rpc/fetch_reactor.h"
#include "server/rpc/piece_message.h"
#include "server/rpc/tensor_producer.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

// `open` makes the producer of a request.
template <typename Request, typename Response>
FetchService::Reactor* Start(
    RpcEnvironment& environment, std::string_view method, grpc::CallbackServerContext* context,
    const grpc::ByteBuffer& bytes,
    absl::StatusOr<std::unique_ptr<FetchProducer<Response>>> (*open)(ModelStore&, const Request&)) {
  Request request;
  absl::Status parsed = ParseRequest(bytes, request);
  return FetchReactor<Response>::Start(
      &environment, method, context,
      [&environment, open, parsed = std::move(parsed),
       request = std::move(request)]() -> absl::StatusOr<std::unique_ptr<FetchProducer<Response>>> {
        WDELTA_RETURN_IF_ERROR(parsed);
        return open(environment.store(), request);
      });
}

}  // namespace

FetchService::Reactor* FetchService::FetchTensors(grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* request) {
  return Start(environment_, "Fetch.FetchTensors", context, *request, &OpenTensors);
}

FetchService::Reactor* FetchService::FetchFile(grpc::CallbackServerContext* context,
                                               const grpc::ByteBuffer* request) {
  return Start(environment_, "Fetch.FetchFile", context, *request, &OpenFile);
}

FetchService::Reactor* FetchService::FetchDelta(grpc::CallbackServerContext* context,
                                                const grpc::ByteBuffer* request) {
  return Start(environment_, "Fetch.FetchDelta", context, *request, &OpenDelta);
}

}  // namespace wdelta
