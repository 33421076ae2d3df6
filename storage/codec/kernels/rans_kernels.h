// The inner loop of rANS decoding.
//
// `kernels` runs on the best instruction set of the CPU (Highway, chosen at run
// time), `kernels::portable` is its plain twin; both give the same symbols and
// states. No state of their own: any thread may call them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "storage/codec/entropy/frequency_table.h"

namespace wdelta::kernels {

inline constexpr size_t kRansLanes = 32;
inline constexpr uint32_t kRansLowest = 1u << 16;  // states are never below

// What is decoded with one table. By slot: symbol, then 12 bits of its frequency,
// then 12 bits of the slot's place within the symbol.
using SlotTable = std::array<uint32_t, kProbabilityScale>;

void BuildSlots(const FrequencyTable& table, SlotTable& slots);

struct RansInput {
  const uint8_t* next = nullptr;  // 16-bit words, not aligned
  const uint8_t* end = nullptr;
};

// Decodes `count` symbols, the i-th with state i modulo `lanes`, a power of two. Writes up to 32
// bytes beyond the last symbol. False when the words do not suffice.
bool DecodeRans(const SlotTable& slots, uint32_t* states, size_t lanes, RansInput& input,
                uint8_t* symbols, size_t count);

namespace portable {
bool DecodeRans(const SlotTable& slots, uint32_t* states, size_t lanes, RansInput& input,
                uint8_t* symbols, size_t count);
}  // namespace portable

}  // namespace wdelta::kernels
