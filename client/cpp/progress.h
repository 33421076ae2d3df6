// How far a transfer is.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace wdelta {

struct Progress {
  uint64_t done_bytes = 0;  // of the whole transfer; may fall back after a reconnect
  uint64_t total_bytes = 0;
  std::string path;  // of the file being transferred
};

// Called on the thread that called the transfer, about once a piece.
using ProgressCallback = std::function<void(const Progress&)>;

}  // namespace wdelta
