// One line in the log for every rpc when it ends, and its place in the statistics.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/server_context.h"
#include "server/rpc/rpc_environment.h"

namespace wdelta {

// A failed rpc is a warning, or an error where the server is to blame; a finished
// one is for debugging. Belongs to its rpc; one thread at a time.
class RpcLog {
 public:
  // Takes the request id from the `x-request-id` of the call when that is
  // well-formed, else makes one up, and sends it back in the initial metadata.
  // `method` must live for ever; the environment, until Done.
  RpcLog(RpcEnvironment* environment, std::string_view method,
         grpc::CallbackServerContext* context);

  void Done(const absl::Status& status);

  const std::string& peer() const { return peer_; }
  const std::string& request_id() const { return request_id_; }

 private:
  RpcEnvironment& environment_;
  const std::string_view method_;
  const absl::Time start_;
  const std::string peer_;
  const std::string request_id_;
};

}  // namespace wdelta
