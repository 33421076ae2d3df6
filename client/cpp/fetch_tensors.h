// Streams tensors, or slices of them, to callbacks.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/cpp/backoff.h"
#include "client/cpp/client.h"
#include "client/cpp/interrupt.h"
#include "client/cpp/pull.h"

namespace wdelta {

// Called on the thread that called FetchTensors. For each tensor: on_tensor, then
// on_bytes for its pieces in order, then on_end, once all checks have passed. An
// error ends the fetch and is returned. Only on_bytes is needed. A connection that breaks is
// not seen here.
struct TensorSink {
  std::function<absl::Status(const v1::TensorHeader&)> on_tensor;
  std::function<absl::Status(absl::string_view)> on_bytes;
  std::function<absl::Status()> on_end;
};

struct FetchTensorsOptions {
  // SHA-256 is that of tensors that come whole, over one connection; others have the checksums
  // of their pieces.
  Verify verify = Verify::kSha256;
  // As of PullOptions; a tensor that ends counts as a byte received.
  int max_reconnects = kDefaultReconnects;
  absl::Duration initial_backoff = absl::Milliseconds(200);
  absl::Duration max_busy_wait = absl::Minutes(10);
  StallCallback on_stall;
  // Breaks it off, with CANCELLED; may be null.
  Interrupt* interrupt = nullptr;
};

// `request` as documented in fetch.proto. Models are looked up once, so that a name that moves
// changes nothing; after a broken connection the stream goes on where it was. Bytes given to
// `on_bytes` before `on_end` have passed only the checksum of their piece. Errors: the
// server's; DATA_LOSS as in piece_checks.h and `TENSOR_CHANGED`, where what follows a
// reconnect is another tensor; the sink's.
absl::Status FetchTensors(Client& client, v1::FetchTensorsRequest request, const TensorSink& sink,
                          const FetchTensorsOptions& options = {});

// Tensors of `model` whose name matches any of the shell patterns (none: all), in
// file and offset order.
absl::Status FetchTensors(Client& client, const std::string& model,
                          const std::vector<std::string>& name_patterns, const TensorSink& sink,
                          Verify verify = Verify::kSha256);

}  // namespace wdelta
