// Runs a unary call off gRPC's threads.
#pragma once

#include <memory>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "grpcpp/server_context.h"
#include "server/rpc/rpc_environment.h"
#include "server/rpc/rpc_log.h"
#include "server/rpc/status_map.h"

namespace wdelta {

// Owns itself and goes with its call.
class UnaryReactor final : public grpc::ServerUnaryReactor {
 public:
  explicit UnaryReactor(ActiveCalls::Token token) : token_(std::move(token)) {}
  void OnDone() override { delete this; }

 private:
  const ActiveCalls::Token token_;
};

// `body(const Request&, Response*)` returns an absl::Status; it runs in a pool
// thread and may block. Request and response live until the call is finished.
template <typename Request, typename Response, typename Body>
grpc::ServerUnaryReactor* ServeUnary(RpcEnvironment& environment, std::string_view method,
                                     grpc::CallbackServerContext* context, const Request* request,
                                     Response* response, Body body) {
  auto* const reactor = new UnaryReactor(environment.active_calls().Enter());
  auto log = std::make_shared<RpcLog>(&environment, method, context);
  // Nothing of the call may be touched after Finish.
  const auto finish = [reactor, log](const absl::Status& status) {
    log->Done(status);
    reactor->Finish(ToGrpcStatus(status));
  };
  const absl::Status scheduled = environment.ScheduleCall(
      [finish, context, request, response, body = std::move(body)]() mutable {
        if (context->IsCancelled()) {
          finish(absl::CancelledError("the caller went away before the call began"));
          return;
        }
        finish(body(*request, response));
      });
  if (!scheduled.ok()) finish(scheduled);
  return reactor;
}

}  // namespace wdelta
