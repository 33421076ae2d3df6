// Bounds of streams that wait until others of their kind end. How many may go on at once is in
// storage/base/limits.h.
#pragma once

#include <cstdint>

namespace wdelta::admission_limits {

inline constexpr int kMinWaitingWriteStreams = 8;           // of pieces, in little memory
inline constexpr int kMaxWaitingWriteStreams = 256;         // likewise, in any
inline constexpr int kMinWaitingFetches = 16;               // in little memory
inline constexpr int kMaxWaitingFetches = 500;              // in any
inline constexpr uint64_t kMaxWaitingFetchBytes = 4 << 20;  // of all their requests
inline constexpr uint64_t kWaitingFetchBytes = 32 << 10;    // of each, what gRPC holds for it
inline constexpr uint64_t kWaitingByteShares = 16;  // of which one who waits holds one at most
inline constexpr int64_t kMaxWaitMs = 60'000;       // of each stream

}  // namespace wdelta::admission_limits
