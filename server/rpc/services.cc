#include "server/rpc/services.h"

#include "storage/base/limits.h"

namespace wdelta {

RpcServices::RpcServices(RpcEnvironment* environment)
    : environment_(*environment),
      admin_(environment),
      compare_(environment),
      fetch_(environment),
      jobs_(environment),
      lineage_(environment),
      maintenance_(environment),
      merge_(environment),
      models_(environment),
      uploads_(environment) {}

void RpcServices::RegisterTo(grpc::ServerBuilder& builder) {
  builder.RegisterService(&admin_);
  builder.RegisterService(&compare_);
  builder.RegisterService(&fetch_);
  builder.RegisterService(&jobs_);
  builder.RegisterService(&lineage_);
  builder.RegisterService(&maintenance_);
  builder.RegisterService(&merge_);
  builder.RegisterService(&models_);
  builder.RegisterService(&uploads_);
  builder.SetMaxReceiveMessageSize(static_cast<int>(limits::kMaxMessageBytes));
  // Weights do not shrink under gzip: the store compresses, the wire does not.
  builder.SetDefaultCompressionAlgorithm(GRPC_COMPRESS_NONE);
}

std::vector<std::string> RpcServices::Names() {
  return {v1::Admin::service_full_name(),   v1::Compare::service_full_name(),
          v1::Fetch::service_full_name(),   v1::Jobs::service_full_name(),
          v1::Lineage::service_full_name(), v1::Maintenance::service_full_name(),
          v1::Merge::service_full_name(),   v1::Models::service_full_name(),
          v1::Uploads::service_full_name()};
}

}  // namespace wdelta
