// Where the tensors of a model of the store come from.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "client/cpp/client.h"

namespace wdelta {

// Calls `take`, on this thread, with the parts of the answer in the order of compare.proto;
// its error ends the call and is returned. DATA_LOSS (`TRUNCATED_STREAM`) when the stream
// ends without its totals; other errors are the server's.
absl::Status BlameModel(Client& client, const std::string& model,
                        const std::function<absl::Status(const v1::BlameResponse&)>& take);

}  // namespace wdelta
