// What HTTP requests took and moved since the process began, for whoever watches it.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>

#include "storage/base/histogram.h"

namespace wdelta {

// Any thread may use it.
struct HttpStats {
  // GET, HEAD, POST, PUT, DELETE or `other`, and the status of the answer.
  using Key = std::pair<std::string, int>;
  HistogramsBy<Key> durations_seconds{DurationBoundsSeconds()};
  // Of connections, heads included.
  std::atomic<uint64_t> received_bytes = 0;
  std::atomic<uint64_t> sent_bytes = 0;
};

}  // namespace wdelta
