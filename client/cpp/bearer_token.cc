#include "client/cpp/bearer_token.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "grpcpp/support/interceptor.h"

namespace wdelta {
namespace {

using grpc::experimental::InterceptionHookPoints;

class BearerToken final : public grpc::experimental::Interceptor {
 public:
  explicit BearerToken(std::string authorization) : authorization_(std::move(authorization)) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      methods->GetSendInitialMetadata()->emplace("authorization", authorization_);
    }
    methods->Proceed();
  }

 private:
  const std::string authorization_;
};

class BearerTokenFactory final : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  explicit BearerTokenFactory(std::string authorization)
      : authorization_(std::move(authorization)) {}

  // gRPC takes the ownership.
  grpc::experimental::Interceptor* CreateClientInterceptor(
      grpc::experimental::ClientRpcInfo*) override {
    return std::make_unique<BearerToken>(authorization_).release();
  }

 private:
  const std::string authorization_;
};

}  // namespace

std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>>
BearerTokenInterceptors(const std::string& token) {
  std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> factories;
  factories.push_back(std::make_unique<BearerTokenFactory>(absl::StrCat("Bearer ", token)));
  return factories;
}

}  // namespace wdelta
