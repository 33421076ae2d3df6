// How far a transfer is.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"

namespace wdelta {

struct Progress {
  uint64_t done_bytes = 0;   // of the whole transfer; may fall back after a reconnect
  uint64_t total_bytes = 0;  // 0: not known yet
  std::string path;          // of a file being transferred
};

// Called about once a piece, on the thread that called the transfer unless that says
// otherwise.
using ProgressCallback = std::function<void(const Progress&)>;

// Given why a transfer stands still, once its first attempt to go on has failed too: the
// connection is lost (UNAVAILABLE), or the server is busy (IsBusy in rpc_status.h). Given OK when
// it goes on. On any thread of the transfer, one call at a time.
using StallCallback = std::function<void(const absl::Status& reason)>;

}  // namespace wdelta
