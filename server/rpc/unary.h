// Runs a unary call off gRPC's threads.
#pragma once

#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "grpcpp/server_context.h"
#include "server/rpc/rpc_call.h"
#include "server/rpc/rpc_environment.h"
#include "server/rpc/status_map.h"
#include "storage/base/status_macros.h"

namespace wdelta {

// Owns itself and goes with its call.
class UnaryReactor final : public grpc::ServerUnaryReactor {
 public:
  explicit UnaryReactor(ActiveCalls::Token token) : token_(std::move(token)) {}
  void OnDone() override { delete this; }

 private:
  const ActiveCalls::Token token_;
};

// Calls `body` if the caller may, and leaves in the answer what the caller may read.
template <typename Request, typename Response, typename Body>
absl::Status RunChecked(RpcCall& call, const Request& request, Response* response, Body& body) {
  WDELTA_RETURN_IF_ERROR(call.CheckRequest(request));
  if constexpr (std::is_invocable_v<Body&, const Request&, Response*, const RpcCall&>) {
    WDELTA_RETURN_IF_ERROR(body(request, response, std::as_const(call)));
  } else {
    WDELTA_RETURN_IF_ERROR(body(request, response));
  }
  return call.CheckResponse(*response);
}

// `body(const Request&, Response*)`, or with a `const RpcCall&` behind, returns an absl::Status;
// it runs in a pool thread and may block. Request and response live until the call is finished.
template <typename Request, typename Response, typename Body>
grpc::ServerUnaryReactor* ServeUnary(RpcEnvironment& environment, std::string_view method,
                                     grpc::CallbackServerContext* context, const Request* request,
                                     Response* response, Body body) {
  auto* const reactor = new UnaryReactor(environment.active_calls().Enter());
  auto call = std::make_shared<RpcCall>(&environment, method, context);
  // Nothing of the call may be touched after Finish.
  const auto finish = [reactor, call](const absl::Status& status) {
    call->Done(status);
    reactor->Finish(ToGrpcStatus(status));
  };
  if (!call->access().ok()) {
    finish(call->access());
    return reactor;
  }
  auto run = [finish, call, context, request, response, body = std::move(body)]() mutable {
    if (context->IsCancelled()) {
      finish(absl::CancelledError("the caller went away before the call began"));
      return;
    }
    finish(RunChecked(*call, *request, response, body));
  };
  const absl::Status scheduled = call->Changes() ? environment.ScheduleChange(std::move(run))
                                                 : environment.ScheduleQuery(std::move(run));
  if (!scheduled.ok()) finish(scheduled);
  return reactor;
}

}  // namespace wdelta
