#include "tests/bench/code_lengths.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

namespace wdelta::bench {
namespace {

// Where the exponent lies in a float's bits.
struct FloatLayout {
  int bits = 0;  // 0: no float that is known here
  int mantissa_bits = 0;
  int exponent_bits = 0;
};

FloatLayout LayoutOf(DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return {16, 7, 8};
    case DType::kF16:
      return {16, 10, 5};
    case DType::kF32:
      return {32, 23, 8};
    case DType::kF64:
      return {64, 52, 11};
    default:
      return {};
  }
}

bool IsCounted(const TensorPair& tensor) {
  return !tensor.parent.empty() && LayoutOf(tensor.dtype).bits != 0;
}

uint64_t BitsAt(const std::string& bytes, size_t index, int bits) {
  uint64_t value = 0;
  std::memcpy(&value, bytes.data() + index * (bits / 8), bits / 8);
  return value;
}

uint64_t ToMonotone(uint64_t value, int bits) {
  const uint64_t top = uint64_t{1} << (bits - 1);
  const uint64_t all = top | (top - 1);
  return (value & top) != 0 ? ~value & all : value | top;
}

struct Difference {
  bool negative = false;
  uint64_t magnitude = 0;
  uint32_t parent_exponent = 0;
};

// Calls `visit` with the difference of every weight that is counted; returns the raw bits
// of the others.
double VisitDifferences(const CheckpointPair& pair,
                        const std::function<void(const Difference&)>& visit) {
  double raw_bits = 0;
  for (const TensorPair& tensor : pair.tensors) {
    if (!IsCounted(tensor)) {
      raw_bits += 8.0 * static_cast<double>(tensor.target.size());
      continue;
    }
    const FloatLayout layout = LayoutOf(tensor.dtype);
    const uint32_t exponent_mask = (1u << layout.exponent_bits) - 1;
    for (size_t i = 0; i < tensor.elements; ++i) {
      const uint64_t target = ToMonotone(BitsAt(tensor.target, i, layout.bits), layout.bits);
      const uint64_t parent_bits = BitsAt(tensor.parent, i, layout.bits);
      const uint64_t parent = ToMonotone(parent_bits, layout.bits);
      Difference difference;
      difference.negative = target < parent;
      difference.magnitude = difference.negative ? parent - target : target - parent;
      difference.parent_exponent =
          static_cast<uint32_t>(parent_bits >> layout.mantissa_bits) & exponent_mask;
      visit(difference);
    }
  }
  return raw_bits;
}

int FloorLog2(uint64_t value) { return 63 - __builtin_clzll(value); }

// Differences of up to 16 bits, told whole by their symbol.
constexpr int kKeepAll = 16;

// A difference as a symbol: zero, or sign, position of the leading one and up to `kept` bits
// after it.
struct Symbol {
  uint32_t index = 0;
  int raw_bits = 0;  // below those that the symbol tells
};

Symbol SymbolOf(const Difference& difference, int kept) {
  if (difference.magnitude == 0) return {0, 0};
  const uint32_t sign = difference.negative ? 1 : 0;
  if (kept == kKeepAll) return {static_cast<uint32_t>(2 * difference.magnitude) + sign, 0};
  const int log = FloorLog2(difference.magnitude);
  const int raw_bits = std::max(log - kept, 0);
  const uint64_t leading = difference.magnitude >> raw_bits;
  const uint64_t below_one = leading ^ (uint64_t{1} << std::min(log, kept));
  const uint64_t place = (static_cast<uint64_t>(log) << kept) | below_one;
  return {static_cast<uint32_t>(1 + 2 * place) + sign, raw_bits};
}

// Symbols that SymbolOf can give for differences of `bits` bits.
double AlphabetSize(int bits, int kept) {
  double size = 1;
  for (int log = 0; log < bits; ++log) size += 2.0 * std::exp2(std::min(log, kept));
  return size;
}

double EntropyBits(const std::vector<uint32_t>& counts) {
  double total = 0;
  double sum = 0;
  for (const uint32_t count : counts) {
    if (count == 0) continue;
    total += count;
    sum += count * std::log2(static_cast<double>(count));
  }
  return total == 0 ? 0 : total * std::log2(total) - sum;
}

// Code length of a sequence with these counts, in any order, when each symbol is coded
// with probability (count so far + 1/2) / (symbols so far + alphabet / 2).
double KrichevskyTrofimovBits(const std::vector<uint32_t>& counts, double alphabet) {
  double total = 0;
  double nats = 0;
  for (const uint32_t count : counts) {
    if (count == 0) continue;
    total += count;
    nats -= std::lgamma(count + 0.5) - std::lgamma(0.5);
  }
  if (total == 0) return 0;
  nats += std::lgamma(total + 0.5 * alphabet) - std::lgamma(0.5 * alphabet);
  return nats / std::log(2.0);
}

// Counts of symbols by the parent's exponent, and the raw bits beside them.
struct ClassCounts {
  std::vector<std::vector<uint32_t>> counts;
  double raw_bits = 0;
};

ClassCounts CountSymbols(const CheckpointPair& pair, int kept) {
  ClassCounts result;
  const double uncounted_bits = VisitDifferences(pair, [&](const Difference& difference) {
    if (result.counts.size() <= difference.parent_exponent) {
      result.counts.resize(difference.parent_exponent + 1);
    }
    std::vector<uint32_t>& counts = result.counts[difference.parent_exponent];
    const Symbol symbol = SymbolOf(difference, kept);
    if (counts.size() <= symbol.index) counts.resize(symbol.index + 1, 0);
    ++counts[symbol.index];
    result.raw_bits += symbol.raw_bits;
  });
  result.raw_bits += uncounted_bits;
  return result;
}

}  // namespace

double FmDeltaBits(const CheckpointPair& pair) {
  std::vector<uint32_t> counts(1 + 2 * 64, 0);
  double low_bits = 0;
  const double raw_bits = VisitDifferences(pair, [&](const Difference& difference) {
    const Symbol symbol = SymbolOf(difference, 0);
    ++counts[symbol.index];
    low_bits += symbol.raw_bits;
  });
  return raw_bits + low_bits + EntropyBits(counts);
}

ConditionalEntropy EntropyGivenParentExponent(const CheckpointPair& pair) {
  ConditionalEntropy result;
  int bits = 0;
  for (const TensorPair& tensor : pair.tensors) {
    if (IsCounted(tensor)) bits = std::max(bits, LayoutOf(tensor.dtype).bits);
  }
  result.adaptive_bits = std::numeric_limits<double>::infinity();
  for (int kept = 0; kept <= 7; ++kept) {
    const ClassCounts classes = CountSymbols(pair, kept);
    double total = classes.raw_bits;
    for (const std::vector<uint32_t>& counts : classes.counts) {
      total += KrichevskyTrofimovBits(counts, AlphabetSize(bits, kept));
    }
    result.adaptive_bits = std::min(result.adaptive_bits, total);
  }
  if (bits <= 16) {
    const ClassCounts classes = CountSymbols(pair, kKeepAll);
    double total = classes.raw_bits;
    for (const std::vector<uint32_t>& counts : classes.counts) total += EntropyBits(counts);
    result.plug_in_bits = total;
  }
  return result;
}

}  // namespace wdelta::bench
