// How far a transfer is.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace wdelta {

struct Progress {
  uint64_t done_bytes = 0;   // of the whole transfer; may fall back after a reconnect
  uint64_t total_bytes = 0;  // 0: not known yet
  std::string path;          // of a file being transferred
};

// Called about once a piece, on the thread that called the transfer unless that says
// otherwise.
using ProgressCallback = std::function<void(const Progress&)>;

}  // namespace wdelta
