// Frequencies of the 256 symbols of a run, as the coder uses them and as they are
// stored: logarithms in thirds of an octave, differences of neighbours coded.
// Specified in storage/wdelta/FORMAT.md ("Runs"). No state: any thread may call it.
#pragma once

#include <array>
#include <cstdint>

#include "storage/codec/entropy/bit_stream.h"

namespace wdelta {

inline constexpr int kProbabilityBits = 12;
inline constexpr uint32_t kProbabilityScale = 1u << kProbabilityBits;
inline constexpr int kSymbolCount = 256;

using SymbolCounts = std::array<uint32_t, kSymbolCount>;

// Sums to kProbabilityScale; at least two symbols have a frequency.
struct FrequencyTable {
  std::array<uint16_t, kSymbolCount> frequency{};
  std::array<uint8_t, kSymbolCount> level{};  // 0: absent
  int first = 0;                              // symbols outside [first, last] are absent
  int last = 0;
};

// At least two counts are not zero.
FrequencyTable BuildTable(const SymbolCounts& counts);

// Bits that coding symbols of these counts takes; every counted symbol is in the table.
double CostBits(const FrequencyTable& table, const SymbolCounts& counts);

// Bits that WriteTable writes.
int TableBits(const FrequencyTable& table);
void WriteTable(const FrequencyTable& table, BitWriter& writer);
// False for bits that are no table: the reader may then be anywhere.
bool ReadTable(BitReader& reader, FrequencyTable& table);

}  // namespace wdelta
