// The token by which a server knows who calls.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "grpcpp/support/client_interceptor.h"

namespace wdelta {

// For grpc::experimental::CreateCustomChannelWithInterceptors: every call of the channel says
// `authorization: Bearer TOKEN`, whether the channel is encrypted or not. Any thread.
std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>>
BearerTokenInterceptors(const std::string& token);

}  // namespace wdelta
