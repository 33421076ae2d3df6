// What calls took and moved since the process began, for whoever watches it.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "storage/base/histogram.h"

namespace wdelta {

// Any thread may use it.
struct RpcStats {
  // The method, as RpcLog has it, and how the call ended.
  using Key = std::pair<std::string_view, absl::StatusCode>;
  HistogramsBy<Key> durations_seconds{DurationBoundsSeconds()};
  // Of content, in pieces; what a client sends is counted when its checksum was right.
  std::atomic<uint64_t> received_bytes = 0;
  std::atomic<uint64_t> sent_bytes = 0;
};

}  // namespace wdelta
