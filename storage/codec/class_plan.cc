#include "storage/codec/class_plan.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include "storage/codec/entropy/entropy_bits.h"
#include "storage/codec/kernels/lane_types.h"

namespace wdelta {
namespace {

using kernels::ClassMap;
using kernels::ValueFormat;
using kernels::portable::kBits;

constexpr size_t kSampleLanes = 4096;
constexpr size_t kSampleBlock = 128;  // neighbours
constexpr size_t kSampleValues = 512;
// Where differences are rare, it is the smallest magnitudes that have them; elsewhere
// fewer classes decode faster and cost nothing.
constexpr int kClassesWhereRare = 16;
constexpr int kClasses = 10;
constexpr double kRareShare = 0.5;  // of lanes that differ
// Rarer fields share the class at either end.
constexpr double kLeastTopShare = 1.0 / 256;
constexpr double kLeastBottomShare = 1.0 / 2048;
// An escape costs its value and a rare symbol.
constexpr double kEscapeSymbolBits = 10;
constexpr int kMaxDelta = 127;      // magnitude of a difference's symbol
constexpr int kMaxDirect = 254;     // of a direct symbol
constexpr int kCandidateBits = 12;  // of a direct code, that symbols are taken from
constexpr double kTableBitsASymbol = 2.2;

// Lanes of `blocks` evenly spread blocks; parent lanes are 0 without a parent.
template <typename T>
struct Sample {
  std::vector<T> target;
  std::vector<T> parent;

  Sample(const uint8_t* target_bytes, const uint8_t* parent_bytes, size_t lanes) {
    const size_t block = std::min(kSampleBlock, lanes);
    const size_t blocks = std::max<size_t>(1, std::min(kSampleLanes, lanes) / block);
    target.resize(blocks * block);
    parent.resize(blocks * block);
    for (size_t b = 0; b < blocks; ++b) {
      const size_t begin = blocks == 1 ? 0 : b * (lanes - block) / (blocks - 1);
      const size_t size_bytes = block * sizeof(T);
      std::memcpy(&target[b * block], target_bytes + begin * sizeof(T), size_bytes);
      if (parent_bytes == nullptr) continue;
      std::memcpy(&parent[b * block], parent_bytes + begin * sizeof(T), size_bytes);
    }
  }
};

// Low bits that are zero in all lanes. Looks at all of them only if the sample has some.
template <typename T>
int CountZeroBits(const Sample<T>& sample, const uint8_t* target, const uint8_t* parent,
                  size_t lanes) {
  T all = 0;
  for (size_t i = 0; i < sample.target.size(); ++i) all |= sample.target[i] | sample.parent[i];
  for (size_t i = 0; i < lanes && (all & 1) == 0; ++i) {
    all |= kernels::portable::Load<T>(target + i * sizeof(T));
    if (parent != nullptr) all |= kernels::portable::Load<T>(parent + i * sizeof(T));
  }
  return all == 0 ? 0 : std::countr_zero(all);
}

template <typename T>
T MagnitudeOf(LaneFormat format, T lane) {
  return format.sign_magnitude ? static_cast<T>(lane & (kernels::portable::kSignBit<T> - 1)) : lane;
}

// Fields from `first` on, so many, that hold all of the sample but the rare ends.
template <typename T>
void ChooseFields(LaneFormat format, const Sample<T>& sample, ClassMap& map) {
  std::vector<uint64_t> fields;
  fields.reserve(sample.parent.size());
  for (const T lane : sample.parent) fields.push_back(MagnitudeOf(format, lane) >> map.shift);
  const auto size = static_cast<double>(fields.size());
  std::vector<uint64_t> lowest(1 + static_cast<size_t>(kLeastBottomShare * size));
  std::vector<uint64_t> highest(1 + static_cast<size_t>(kLeastTopShare * size));
  std::partial_sort_copy(fields.begin(), fields.end(), lowest.begin(), lowest.end());
  std::partial_sort_copy(fields.begin(), fields.end(), highest.begin(), highest.end(),
                         std::greater<>());
  const uint64_t top = highest.back();
  const uint64_t bottom = lowest.back();
  double changed = 0;
  for (size_t i = 0; i < sample.target.size(); ++i) {
    changed += sample.target[i] != sample.parent[i] ? 1 : 0;
  }
  const uint64_t most = changed < kRareShare * size ? kClassesWhereRare : kClasses;
  map.count = static_cast<int>(std::min<uint64_t>(most, top - bottom + 1));
  map.first = top + 1 - map.count;
}

// Estimated bits of one class's sample, coded either way.
struct ClassCosts {
  double delta = 0;
  double direct = 0;
  double weights = 0;
};

// Sign and bit length entropy coded, the bits below raw.
template <typename T>
std::vector<ClassCosts> PriceClasses(LaneFormat format, const Sample<T>& sample,
                                     const ClassMap& map) {
  constexpr size_t kExponents = 64;
  constexpr size_t kLengths = 2 * kBits<T> + 2;
  struct Counts {
    std::array<uint32_t, kLengths> lengths{};
    std::array<uint32_t, kExponents> exponents{};
    uint64_t weights = 0;
    uint64_t low_bits = 0;  // of all differences
  };
  const int raw_bits = std::max(0, format.mantissa_bits - map.zero_bits) + 1;
  const uint64_t last = map.count - 1;
  const uint64_t top = map.first + map.count + 4;
  std::vector<Counts> counts(map.count);
  for (size_t i = 0; i < sample.target.size(); ++i) {
    const T t = sample.target[i];
    const T p = sample.parent[i];
    const uint64_t field = MagnitudeOf(format, p) >> map.shift;
    Counts& of_class = counts[std::min(field > map.first ? field - map.first : 0, last)];
    const T ordered_t = format.sign_magnitude ? kernels::portable::ToMonotone(t) : t;
    const T ordered_p = format.sign_magnitude ? kernels::portable::ToMonotone(p) : p;
    const T difference =
        kernels::portable::ShiftRightSigned(static_cast<T>(ordered_t - ordered_p), map.zero_bits);
    // Without branches, which nobody could predict.
    const T negative = static_cast<T>(difference >> (kBits<T> - 1));
    const T size = static_cast<T>((difference ^ static_cast<T>(T{0} - negative)) + negative);
    const auto low_bits = static_cast<size_t>(std::bit_width(static_cast<uint64_t>(size) | 1) - 1);
    const size_t length = low_bits + (size != 0 ? 1 : 0);
    ++of_class.lengths[2 * length + negative];
    of_class.low_bits += low_bits;
    const uint64_t exponent = MagnitudeOf(format, t) >> map.shift;
    ++of_class.exponents[std::min<uint64_t>(kExponents - 1, top - std::min(exponent, top))];
    ++of_class.weights;
  }
  std::vector<ClassCosts> costs(map.count);
  for (int c = 0; c < map.count; ++c) {
    costs[c].weights = static_cast<double>(counts[c].weights);
    costs[c].delta = static_cast<double>(counts[c].low_bits) + EntropyBits(counts[c].lengths);
    costs[c].direct = raw_bits * costs[c].weights + EntropyBits(counts[c].exponents);
  }
  return costs;
}

template <typename T>
ClassPlan PlanDeltaOf(LaneFormat format, const uint8_t* target, const uint8_t* parent,
                      size_t lanes) {
  const Sample<T> sample(target, parent, lanes);
  ClassPlan plan;
  plan.map.zero_bits = CountZeroBits(sample, target, parent, lanes);
  plan.map.shift = std::max(format.mantissa_bits, plan.map.zero_bits);
  const bool has_exponent = format.sign_magnitude && format.mantissa_bits > 0;
  if (has_exponent) ChooseFields(format, sample, plan.map);
  const std::vector<ClassCosts> costs = PriceClasses(format, sample, plan.map);
  double bits = 0;
  for (const ClassCosts& cost : costs) bits += cost.delta;
  double best = bits;
  for (int c = 0; has_exponent && c < plan.map.count; ++c) {
    bits += costs[c].direct - costs[c].delta;
    if (bits >= best) continue;
    best = bits;
    plan.map.direct_count = c + 1;
  }
  plan.bits = best / static_cast<double>(sample.target.size()) * static_cast<double>(lanes);
  return plan;
}

template <typename T>
ClassPlan PlanDirectOf(LaneFormat format, const uint8_t* target, size_t lanes) {
  const Sample<T> sample(target, nullptr, lanes);
  ClassPlan plan;
  plan.map.zero_bits = CountZeroBits(sample, target, nullptr, lanes);
  plan.map.shift = std::max(format.mantissa_bits, plan.map.zero_bits);
  plan.map.direct_count = 1;
  std::vector<uint32_t> symbols(256);
  const int code_bits = kBits<T> - plan.map.zero_bits;
  const int low_bits = std::max(0, code_bits - 8);
  for (const T lane : sample.target) {
    ++symbols[std::min(
        255, static_cast<int>(static_cast<uint64_t>(MagnitudeOf(format, lane)) >>
                              plan.map.zero_bits << (format.sign_magnitude ? 1 : 0) >> low_bits))];
  }
  const double a_lane = EntropyBits(symbols) / static_cast<double>(sample.target.size()) + low_bits;
  plan.bits = a_lane * static_cast<double>(lanes);
  return plan;
}

// The fewest raw bits with which nearly all differences have a symbol, or more where
// neighbouring symbols are about as frequent.
template <typename T>
ValueFormat PlanDifferences(const T* values, size_t count) {
  ValueFormat format;
  format.is_signed = true;
  if (sizeof(T) == 1) {
    format.bias = static_cast<uint64_t>(-128);
    format.max_symbol = 255;
    return format;
  }
  format.bias = static_cast<uint64_t>(-kMaxDelta);
  const size_t step = std::max<size_t>(1, count / kSampleValues);
  std::array<uint32_t, kBits<T> + 1> lengths{};
  double sum = 0;
  size_t sampled = 0;
  for (size_t i = 0; i < count; i += step, ++sampled) {
    const bool negative = (values[i] & kernels::portable::kSignBit<T>) != 0;
    const T size = negative ? static_cast<T>(T{0} - values[i]) : values[i];
    ++lengths[std::bit_width(size)];
    sum += static_cast<double>(size);
  }
  const double mean = std::max(sum / static_cast<double>(sampled), 1e-9);
  double best = 1e300;
  for (int low_bits = 0; low_bits + 8 <= kBits<T>; ++low_bits) {
    double escapes = 0;
    for (int length = low_bits + 8; length <= kBits<T>; ++length) escapes += lengths[length];
    // Of a bell of that mean, cut into bins of that width; twice that, since peaks are sharper.
    const double width = low_bits == 0 ? 0 : std::ldexp(1.0, low_bits) / mean;
    const double flat = 0.08 * width * width * static_cast<double>(sampled);
    const double cost = flat + escapes * (kBits<T> + kEscapeSymbolBits);
    if (cost >= best) continue;
    best = cost;
    format.low_bits = low_bits;
  }
  return format;
}

template <typename T>
ValueFormat PlanCodes(const ClassMap& map, const T* values, size_t count) {
  ValueFormat format;
  if (sizeof(T) == 1) {
    format.max_symbol = 255;
    return format;
  }
  const int code_bits = kBits<T> - map.zero_bits;
  const size_t step = std::max<size_t>(1, count / (8 * kSampleValues));
  const int finest = std::max(0, code_bits - kCandidateBits);
  std::vector<uint32_t> counts(size_t{1} << std::min(code_bits, kCandidateBits));
  size_t sampled = 0;
  for (size_t i = 0; i < count; i += step, ++sampled) {
    ++counts[std::min<uint64_t>(static_cast<uint64_t>(values[i]) >> finest, counts.size() - 1)];
  }
  double best = 1e300;
  for (int low_bits = finest; low_bits < code_bits; ++low_bits) {
    size_t top = counts.size() - 1;
    while (top > 0 && counts[top] == 0) --top;
    const size_t low = top > kMaxDirect ? top - kMaxDirect : 0;
    double escapes = 0;
    for (size_t s = 0; s < low; ++s) escapes += counts[s];
    const auto distinct =
        static_cast<double>(counts.size() - std::count(counts.begin(), counts.end(), 0u));
    // A sample's entropy is too small by about half a nat for each symbol.
    const double entropy = EntropyBits(counts) + 0.72 * distinct;
    const double each = entropy / static_cast<double>(sampled) + low_bits;
    const double cost = each * static_cast<double>(count) + kTableBitsASymbol * distinct +
                        escapes / static_cast<double>(sampled) * static_cast<double>(count) *
                            (kBits<T> + kEscapeSymbolBits);
    if (cost < best) {
      best = cost;
      format.low_bits = low_bits;
      format.bias = low;
    }
    for (size_t s = 0; s + 1 < counts.size(); s += 2) counts[s / 2] = counts[s] + counts[s + 1];
    counts.resize(std::max<size_t>(1, counts.size() / 2));
  }
  return format;
}

}  // namespace

ClassPlan PlanDelta(LaneFormat format, const uint8_t* target, const uint8_t* parent, size_t lanes) {
  ClassPlan plan;
  kernels::portable::WithLaneType(format.lane_bytes, [&](auto zero) {
    plan = PlanDeltaOf<decltype(zero)>(format, target, parent, lanes);
  });
  return plan;
}

ClassPlan PlanDirect(LaneFormat format, const uint8_t* target, size_t lanes) {
  ClassPlan plan;
  kernels::portable::WithLaneType(format.lane_bytes, [&](auto zero) {
    plan = PlanDirectOf<decltype(zero)>(format, target, lanes);
  });
  return plan;
}

ValueFormat PlanValues(LaneFormat format, const ClassMap& map, bool is_direct, const void* values,
                       size_t count) {
  ValueFormat result;
  kernels::portable::WithLaneType(format.lane_bytes, [&](auto zero) {
    const auto* lanes = static_cast<const decltype(zero)*>(values);
    result = is_direct ? PlanCodes(map, lanes, count) : PlanDifferences(lanes, count);
  });
  return result;
}

}  // namespace wdelta
