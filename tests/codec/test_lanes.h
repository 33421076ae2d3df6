// Lanes and parents to try the codec on: random, but replayable from a seed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "storage/codec/codec.h"

namespace wdelta {

inline std::vector<LaneFormat> AllLaneFormats() {
  std::vector<LaneFormat> formats;
  for (const int lane_bytes : {1, 2, 4, 8}) {
    for (const bool sign_magnitude : {false, true}) formats.push_back({lane_bytes, sign_magnitude});
    formats.push_back({lane_bytes, true, std::vector<int>{3, 7, 23, 52}[formats.size() / 3]});
  }
  return formats;
}

enum class Pattern { kNoise, kText, kNearParent, kFewChanges, kZeros, kEdges };
inline constexpr Pattern kAllPatterns[] = {Pattern::kNoise,      Pattern::kText,
                                           Pattern::kNearParent, Pattern::kFewChanges,
                                           Pattern::kZeros,      Pattern::kEdges};

inline std::string RandomBytes(std::mt19937_64& random, size_t size) {
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

// Bytes whose top byte of every lane is one of the ends of its range: zeros of both
// signs, NaN payloads, infinities, wrap-around of the difference.
inline std::string EdgeBytes(std::mt19937_64& random, size_t size) {
  constexpr uint8_t kEdges[] = {0x00, 0x01, 0x7f, 0x80, 0x81, 0xff, 0xfe, 0xc0};
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(kEdges[random() % 8]);
  return bytes;
}

// `size` bytes of the pattern; `parent` may be shorter.
inline std::string MakeTarget(Pattern pattern, std::mt19937_64& random, size_t size,
                              const std::string& parent) {
  std::string target = parent;
  target.resize(size, '\0');
  switch (pattern) {
    case Pattern::kNoise:
      return RandomBytes(random, size);
    case Pattern::kText:
      for (char& byte : target) byte = "the quick brown fox "[random() % 20];
      return target;
    case Pattern::kNearParent:
      for (char& byte : target) byte = static_cast<char>(byte ^ (random() % 4));
      return target;
    case Pattern::kFewChanges:
      if (size != 0) target[random() % size] ^= 0x55;
      return target;
    case Pattern::kZeros:
      return std::string(size, '\0');
    case Pattern::kEdges:
      return EdgeBytes(random, size);
  }
  return target;
}

}  // namespace wdelta
