// Streams the tensors of a model to callbacks.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "client/cpp/client.h"
#include "client/cpp/pull.h"

namespace wdelta {

// Called on the thread that called FetchTensors. For each tensor: on_tensor, then
// on_bytes for its pieces in order, then on_end, once all checks have passed. An
// error ends the fetch and is returned. Only on_bytes is needed.
struct TensorSink {
  std::function<absl::Status(const v1::TensorHeader&)> on_tensor;
  std::function<absl::Status(absl::string_view)> on_bytes;
  std::function<absl::Status()> on_end;
};

// Tensors of `model` whose name matches any of the shell patterns (none: all), in
// file and offset order. Bytes given to `on_bytes` before `on_end` have passed
// only the checksum of their piece. Errors as PullModel.
absl::Status FetchTensors(Client& client, const std::string& model,
                          const std::vector<std::string>& name_patterns, const TensorSink& sink,
                          Verify verify = Verify::kSha256);

}  // namespace wdelta
