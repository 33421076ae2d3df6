#include "client/cpp/blame.h"

#include "client/cpp/compare_stream.h"

namespace wdelta {

absl::Status BlameModel(Client& client, const std::string& model,
                        const std::function<absl::Status(const v1::BlameResponse&)>& take) {
  v1::BlameRequest request;
  request.set_model(model);
  grpc::ClientContext context;
  return TakeParts<v1::BlameResponse>("blame", context, *client.compare().Blame(&context, request),
                                      take);
}

}  // namespace wdelta
