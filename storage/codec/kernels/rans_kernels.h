// The inner loops of rANS.
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
inline constexpr size_t kMostRansLanes = 64;       // SIMD decodes with 32 or 64
inline constexpr uint32_t kRansLowest = 1u << 16;  // states are never below

// What is decoded with one table. By slot: symbol, then 12 bits of its frequency,
// then 12 bits of the slot's place within the symbol. The last block is filled over.
inline constexpr size_t kSlotBlock = 16;
using SlotTable = std::array<uint32_t, kProbabilityScale + kSlotBlock>;

void BuildSlots(const FrequencyTable& table, SlotTable& slots);

// What encoding a symbol needs: its frequency in the low 12 bits, the sum of the
// frequencies of smaller symbols from bit 12 on.
using SymbolTable = std::array<uint32_t, kSymbolCount>;

void BuildSymbols(const FrequencyTable& table, SymbolTable& symbols);

// Encodes symbols last to first, the i-th with state i modulo `lanes`, a power of two.
// Words go to the bytes before `next`, where there is room for one a symbol and one
// more; returns where they begin.
uint8_t* EncodeRans(const SymbolTable& table, const uint8_t* symbols, size_t count,
                    uint32_t* states, size_t lanes, uint8_t* next);

struct RansInput {
  const uint8_t* next = nullptr;  // 16-bit words, not aligned
  const uint8_t* end = nullptr;
};

// Decodes `count` symbols, the i-th with state i modulo `lanes`, a power of two. Writes up to 32
// bytes beyond the last symbol. False when the words do not suffice.
bool DecodeRans(const SlotTable& slots, uint32_t* states, size_t lanes, RansInput& input,
                uint8_t* symbols, size_t count);

namespace portable {
uint8_t* EncodeRans(const SymbolTable& table, const uint8_t* symbols, size_t count,
                    uint32_t* states, size_t lanes, uint8_t* next);
bool DecodeRans(const SlotTable& slots, uint32_t* states, size_t lanes, RansInput& input,
                uint8_t* symbols, size_t count);
}  // namespace portable

}  // namespace wdelta::kernels
