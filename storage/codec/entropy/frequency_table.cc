#include "storage/codec/entropy/frequency_table.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

namespace wdelta {
namespace {

// Level n stands for a weight of about 2^((n - 1) / 3), times 1024.
constexpr int kMaxLevel = 37;
constexpr int kLevelBits = 6;
constexpr int kMaxDifferenceBits = 7;  // of a gamma code
constexpr int kMaxZerosBits = 9;
constexpr uint32_t kThirdsOfOctave[3] = {1024, 1290, 1625};

constexpr std::array<uint64_t, kMaxLevel + 1> kWeights = [] {
  std::array<uint64_t, kMaxLevel + 1> weights{};
  for (int level = 1; level <= kMaxLevel; ++level) {
    weights[level] = uint64_t{kThirdsOfOctave[(level - 1) % 3]} << ((level - 1) / 3);
  }
  return weights;
}();

// 1 + 3 log2(`frequency`), rounded, within the range of levels.
uint8_t LevelOf(double frequency) {
  // Where the logarithm's part below the octave is 1, 3 and 5 sixths.
  constexpr double kSixths[3] = {1.122462048309373, 1.4142135623730951, 1.7817974362806785};
  if (frequency < 1) return 1;
  const auto bits = std::bit_cast<uint64_t>(frequency);
  const int octave = static_cast<int>(bits >> 52) - 1023;
  const auto within = std::bit_cast<double>((bits & ~(~uint64_t{0} << 52)) | uint64_t{1023} << 52);
  int level = 1 + 3 * octave;
  for (const double sixths : kSixths) level += within >= sixths ? 1 : 0;
  return static_cast<uint8_t>(std::min(level, kMaxLevel));
}

// Fills `frequency` from `level`. The rounding's remainder goes to the most frequent
// symbols, where it matters least.
void Normalise(FrequencyTable& table) {
  uint64_t total = 0;
  for (int s = table.first; s <= table.last; ++s) total += kWeights[table.level[s]];
  std::array<uint16_t, kMaxLevel + 1> frequencies{};  // by level
  for (int level = 1; level <= kMaxLevel; ++level) {
    frequencies[level] =
        static_cast<uint16_t>(std::max<uint64_t>(1, kWeights[level] * kProbabilityScale / total));
  }
  int32_t left = kProbabilityScale;
  int largest = table.first;
  for (int s = table.first; s <= table.last; ++s) {
    table.frequency[s] = frequencies[table.level[s]];
    left -= table.frequency[s];
    if (table.frequency[s] > table.frequency[largest]) largest = s;
  }
  if (left >= 0) {
    table.frequency[largest] = static_cast<uint16_t>(table.frequency[largest] + left);
    return;
  }
  for (; left < 0; ++left) {
    largest = table.first;
    for (int s = table.first; s <= table.last; ++s) {
      if (table.frequency[s] > table.frequency[largest]) largest = s;
    }
    --table.frequency[largest];
  }
}

uint32_t Zigzag(int difference) {
  return difference >= 0 ? 2u * static_cast<uint32_t>(difference)
                         : 2u * static_cast<uint32_t>(-difference) - 1;
}

int Unzigzag(uint32_t code) {
  return code % 2 == 0 ? static_cast<int>(code / 2) : -static_cast<int>((code + 1) / 2);
}

int GammaBits(uint32_t value) {
  int bits = 1;
  while ((value + 1) >> bits != 0) ++bits;
  return 2 * bits - 1;
}

// Absent symbols that follow an absent one.
int ZerosBehind(const FrequencyTable& table, int symbol) {
  int zeros = 0;
  while (table.level[symbol + 1 + zeros] == 0) ++zeros;  // the last symbol is not absent
  return zeros;
}

}  // namespace

FrequencyTable BuildTable(const SymbolCounts& counts) {
  FrequencyTable table;
  uint64_t total = 0;
  for (const uint32_t count : counts) total += count;
  table.first = 0;
  while (counts[table.first] == 0) ++table.first;
  table.last = kSymbolCount - 1;
  while (counts[table.last] == 0) --table.last;
  for (int s = table.first; s <= table.last; ++s) {
    if (counts[s] == 0) continue;
    const double share = static_cast<double>(counts[s]) / static_cast<double>(total);
    table.level[s] = LevelOf(share * kProbabilityScale);
  }
  Normalise(table);
  return table;
}

double CostBits(const FrequencyTable& table, const SymbolCounts& counts) {
  double bits = 0;
  // Nearly all symbols of a level have the same frequency.
  std::array<uint16_t, kMaxLevel + 1> frequencies{};
  std::array<double, kMaxLevel + 1> symbol_bits{};
  symbol_bits[0] = std::numeric_limits<double>::infinity();
  for (int s = table.first; s <= table.last; ++s) {
    if (counts[s] == 0) continue;
    const uint8_t level = table.level[s];
    if (frequencies[level] != table.frequency[s]) {
      frequencies[level] = table.frequency[s];
      symbol_bits[level] = kProbabilityBits - std::log2(table.frequency[s]);
    }
    bits += counts[s] * symbol_bits[level];
  }
  return bits;
}

int TableBits(const FrequencyTable& table) {
  int bits = 16 + kLevelBits;
  for (int s = table.first + 1; s <= table.last; ++s) {
    bits += GammaBits(Zigzag(table.level[s] - table.level[s - 1]));
    if (table.level[s] != 0) continue;
    const int more = ZerosBehind(table, s);
    bits += GammaBits(static_cast<uint32_t>(more));
    s += more;
  }
  return bits;
}

void WriteTable(const FrequencyTable& table, BitWriter& writer) {
  writer.Write(table.first, 8);
  writer.Write(table.last, 8);
  writer.Write(table.level[table.first], kLevelBits);
  for (int s = table.first + 1; s <= table.last; ++s) {
    writer.WriteGamma(Zigzag(table.level[s] - table.level[s - 1]));
    if (table.level[s] != 0) continue;
    const int more = ZerosBehind(table, s);
    writer.WriteGamma(static_cast<uint32_t>(more));
    s += more;
  }
}

bool ReadTable(BitReader& reader, FrequencyTable& table) {
  table = FrequencyTable();
  table.first = static_cast<int>(reader.Read(8));
  table.last = static_cast<int>(reader.Read(8));
  int level = static_cast<int>(reader.Read(kLevelBits));
  if (table.first >= table.last || level < 1 || level > kMaxLevel) return false;
  table.level[table.first] = static_cast<uint8_t>(level);
  for (int s = table.first + 1; s <= table.last; ++s) {
    level += Unzigzag(reader.ReadGamma(kMaxDifferenceBits));
    if (!reader.ok() || level < 0 || level > kMaxLevel) return false;
    table.level[s] = static_cast<uint8_t>(level);
    if (level != 0) continue;
    const uint32_t more = reader.ReadGamma(kMaxZerosBits);
    if (!reader.ok() || more > static_cast<uint32_t>(table.last - s)) return false;
    s += static_cast<int>(more);
  }
  if (level < 1) return false;
  Normalise(table);
  return true;
}

}  // namespace wdelta
