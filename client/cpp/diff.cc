#include "client/cpp/diff.h"

#include "client/cpp/compare_stream.h"

namespace wdelta {

absl::Status DiffModels(Client& client, const v1::DiffRequest& request,
                        const std::function<absl::Status(const v1::DiffResponse&)>& take) {
  grpc::ClientContext context;
  return TakeParts<v1::DiffResponse>("diff", context, *client.compare().Diff(&context, request),
                                     take);
}

}  // namespace wdelta
