// Numbers in the BF16 lanes of a tensor's bytes, by code of the tests' own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace wdelta::testing {

inline double Bf16ToDouble(const std::string& bytes, size_t index) {
  uint32_t bits = static_cast<uint8_t>(bytes[2 * index]) << 16;
  bits |= static_cast<uint32_t>(static_cast<uint8_t>(bytes[2 * index + 1])) << 24;
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline void PutBf16(std::string& bytes, size_t index, double number) {
  const float value = static_cast<float>(number);
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  bits += 0x8000;  // to nearest
  bytes[2 * index] = static_cast<char>(bits >> 16);
  bytes[2 * index + 1] = static_cast<char>(bits >> 24);
}

}  // namespace wdelta::testing
