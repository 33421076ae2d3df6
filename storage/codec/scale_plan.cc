#include "storage/codec/scale_plan.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <utility>
#include <vector>

#include "storage/codec/entropy/entropy_bits.h"
#include "storage/codec/kernels/lane_types.h"

namespace wdelta {
namespace {

using kernels::ClassMap;
using kernels::kLevels;
using kernels::RowGeometry;
using kernels::portable::kBits;

// Shorter rows are taken several at a time: a class of few lanes costs more than it tells.
constexpr size_t kLeastRowLanes = 64;
constexpr size_t kLeastRows = 4;
constexpr int kMostExponentBits = 11;  // those of F64: tables have an entry for each exponent
constexpr int kScaleClasses = 16;
constexpr int kMiddleClass = 7;  // of rows and columns that change as much as most
// As many classes as the kernels are made for; fewer where a table would cost more than it saves.
constexpr size_t kMaxScaledClasses = 16;
constexpr double kTableBits = 250;
// Levels above the last hold less than this share of the lanes.
constexpr double kTopShare = 1.0 / 1024;
constexpr size_t kLevelSampleStride = 29;  // prime: not in step with rows
// Classes are chosen by about so many lanes, in blocks of neighbours.
constexpr size_t kSampleLanes = 65536;
constexpr size_t kSampleBlock = 256;

std::optional<RowGeometry> RowsOf(const ChunkGeometry& geometry, size_t lanes) {
  if (geometry.row_weights == 0 || geometry.row_weights > lanes) return std::nullopt;
  RowGeometry rows;
  const size_t row = geometry.row_weights;
  rows.row_lanes = (kLeastRowLanes + row - 1) / row * row;
  if (row >= kLeastRowLanes) rows.row_lanes = row;
  rows.first_row_lanes = rows.row_lanes - geometry.first_weight % rows.row_lanes;
  if (rows.row_lanes * kLeastRows > lanes) return std::nullopt;
  return rows;
}

template <typename T>
T LaneAt(const uint8_t* lanes, size_t index) {
  return kernels::portable::Load<T>(lanes + index * sizeof(T));
}

template <typename T>
T MagnitudeOf(T lane) {
  return static_cast<T>(lane & (kernels::portable::kSignBit<T> - 1));
}

// Numbers in units that make the largest common exponent 1: squares of any stay finite.
template <typename T>
class Values {
 public:
  Values(LaneFormat format, const ClassMap& map) : mantissa_bits_(format.mantissa_bits) {
    constexpr int kFarthest = 120;
    const int top = static_cast<int>(map.first) + map.count - 1;
    const size_t exponents = size_t{1} << (kBits<T> - 1 - mantissa_bits_);
    for (const double sign : {1.0, -1.0}) {
      for (size_t e = 0; e < exponents; ++e) {
        const int above = std::clamp(std::max(1, static_cast<int>(e)) - top, -kFarthest, kFarthest);
        tops_.push_back({sign * std::ldexp(1.0, above - mantissa_bits_),
                         e == 0 ? T{0} : static_cast<T>(T{1} << mantissa_bits_)});
      }
    }
  }

  // Signs and exponents are looked up: they are as good as random, and branches would be missed.
  double Of(T lane) const {
    const Top& top = tops_[static_cast<size_t>(lane >> mantissa_bits_)];
    const T mantissa = static_cast<T>(lane & ((T{1} << mantissa_bits_) - 1));
    return static_cast<double>(static_cast<T>(mantissa | top.hidden)) * top.unit;
  }

 private:
  struct Top {
    double unit;  // in the last place, with the sign
    T hidden;     // leading bit of the mantissa
  };
  const int mantissa_bits_;
  std::vector<Top> tops_;  // by sign and exponent
};

// Half octaves below the middle one of the sums' scales; sums are of squares, of so many lanes.
std::vector<uint8_t> ClassesOf(const std::vector<double>& squares,
                               const std::vector<uint32_t>& counts) {
  std::vector<double> half_octaves;
  for (size_t i = 0; i < squares.size(); ++i) {
    if (squares[i] > 0) half_octaves.push_back(std::log2(squares[i] / counts[i]));
  }
  std::vector<uint8_t> classes(squares.size(), kMiddleClass);
  if (half_octaves.empty()) return classes;
  const auto middle_at = half_octaves.begin() + static_cast<ptrdiff_t>(half_octaves.size() / 2);
  std::nth_element(half_octaves.begin(), middle_at, half_octaves.end());
  const double middle = *middle_at;
  for (size_t i = 0; i < squares.size(); ++i) {
    if (squares[i] <= 0) continue;
    const double below = std::round(middle - std::log2(squares[i] / counts[i])) + kMiddleClass;
    classes[i] = static_cast<uint8_t>(std::clamp(below, 0.0, kScaleClasses - 1.0));
  }
  return classes;
}

template <typename T>
ScaleClasses MeasureScales(const Values<T>& values, const RowGeometry& geometry,
                           const uint8_t* target, const uint8_t* parent, size_t lanes) {
  const size_t rows = geometry.Rows(lanes);
  std::vector<double> row_squares(rows), column_squares(geometry.row_lanes);
  std::vector<uint32_t> row_counts(rows), column_counts(geometry.row_lanes);
  size_t column = geometry.row_lanes - geometry.first_row_lanes;
  size_t i = 0;
  for (size_t row = 0; row < rows; ++row, column = 0) {
    const size_t end = std::min(lanes, i + geometry.row_lanes - column);
    row_counts[row] = static_cast<uint32_t>(end - i);
    double sum = 0;
    for (; i < end; ++i, ++column) {
      const T t = LaneAt<T>(target, i);
      const T p = LaneAt<T>(parent, i);
      const double change = values.Of(t) - values.Of(p);
      sum += change * change;
      column_squares[column] += change * change;
      ++column_counts[column];
    }
    row_squares[row] = sum;
  }
  return {geometry, ClassesOf(row_squares, row_counts), ClassesOf(column_squares, column_counts)};
}

double ClassesBits(const std::vector<uint8_t>& classes) {
  std::vector<uint32_t> counts(kScaleClasses);
  for (const uint8_t c : classes) ++counts[c];
  return EntropyBits(counts);
}

// What a sample says of the lanes of neighbouring levels.
struct LevelStatistics {
  std::vector<uint32_t> differences;  // by sign, length and the two bits below the leading one
  std::vector<uint32_t> exponents;    // of the target, with its sign
  double difference_raw_bits = 0;     // bits that these leave
  double lanes = 0;

  void Add(const LevelStatistics& other) {
    for (size_t i = 0; i < differences.size(); ++i) differences[i] += other.differences[i];
    for (size_t i = 0; i < exponents.size(); ++i) exponents[i] += other.exponents[i];
    difference_raw_bits += other.difference_raw_bits;
    lanes += other.lanes;
  }
};

template <typename T>
void Count(LaneFormat format, const ClassMap& map, T target, T parent, LevelStatistics& level) {
  const T ordered =
      static_cast<T>(kernels::portable::ToMonotone(target) - kernels::portable::ToMonotone(parent));
  const T difference = kernels::portable::ShiftRightSigned(ordered, map.zero_bits);
  const bool negative = (difference & kernels::portable::kSignBit<T>) != 0;
  const T size = negative ? static_cast<T>(T{0} - difference) : difference;
  const int length = std::bit_width(size);
  const int raw_bits = std::max(0, length - 3);
  const auto leading = static_cast<size_t>(size >> raw_bits) & 3;
  ++level.differences[(static_cast<size_t>(length) * 4 + leading) * 2 + (negative ? 1 : 0)];
  level.difference_raw_bits += raw_bits;
  const size_t exponent = MagnitudeOf(target) >> format.mantissa_bits;
  ++level.exponents[std::min(2 * exponent + (MagnitudeOf(target) == target ? 0 : 1),
                             level.exponents.size() - 1)];
  ++level.lanes;
}

// The level that `first` makes of a lane.
template <typename T>
size_t LevelOf(const ClassMap& map, const uint8_t* offsets, T parent, size_t lane) {
  const T sum = static_cast<T>(2 * (MagnitudeOf(parent) >> map.shift) + offsets[lane]);
  return std::min<uint64_t>(sum > map.first ? sum - map.first : 0, kLevels - 1);
}

template <typename T>
uint64_t FirstLevel(const ClassMap& map, const uint8_t* offsets, const uint8_t* parent,
                    size_t lanes) {
  std::vector<T> sums;
  for (size_t i = 0; i < lanes; i += kLevelSampleStride) {
    sums.push_back(
        static_cast<T>(2 * (MagnitudeOf(LaneAt<T>(parent, i)) >> map.shift) + offsets[i]));
  }
  const auto top_at = sums.end() - 1 - static_cast<ptrdiff_t>(kTopShare * sums.size());
  std::nth_element(sums.begin(), top_at, sums.end());
  const uint64_t top = *top_at;
  return top < kLevels ? 0 : top - (kLevels - 1);
}

template <typename T>
std::vector<LevelStatistics> SampleLevels(LaneFormat format, const ClassMap& map,
                                          const uint8_t* offsets, const uint8_t* target,
                                          const uint8_t* parent, size_t lanes) {
  LevelStatistics none;
  none.differences.resize((kBits<T> + 1) * 8);
  none.exponents.resize(
      size_t{2} << std::min(kMostExponentBits, kBits<T> - 1 - format.mantissa_bits));
  std::vector<LevelStatistics> levels(kLevels, none);
  const size_t stride = std::max<size_t>(1, lanes / kSampleLanes) * kSampleBlock;
  for (size_t begin = 0; begin < lanes; begin += stride) {
    const size_t end = std::min(lanes, begin + kSampleBlock);
    for (size_t i = begin; i < end; ++i) {
      const T p = LaneAt<T>(parent, i);
      Count(format, map, LaneAt<T>(target, i), p, levels[LevelOf(map, offsets, p, i)]);
    }
  }
  return levels;
}

// Joins neighbouring levels where a table costs more than it saves, and where there are too
// many. Returns the classes, `map` has those of the levels; `weight` is of a lane in the sample.
std::vector<LevelStatistics> JoinLevels(std::vector<LevelStatistics> levels, double weight,
                                        ClassMap& map) {
  std::vector<size_t> last;  // level of each class
  std::vector<double> bits, joint_bits;
  const auto join = [&](size_t c) {
    LevelStatistics both = levels[c];
    both.Add(levels[c + 1]);
    return both;
  };
  for (size_t level = 0; level < levels.size(); ++level) last.push_back(level);
  for (const LevelStatistics& level : levels) bits.push_back(EntropyBits(level.differences));
  for (size_t c = 0; c + 1 < levels.size(); ++c) {
    joint_bits.push_back(EntropyBits(join(c).differences));
  }
  while (levels.size() > 1) {
    size_t best = 0;
    double least = 1e300;
    for (size_t c = 0; c + 1 < levels.size(); ++c) {
      const double loss = joint_bits[c] - bits[c] - bits[c + 1];
      if (loss >= least) continue;
      least = loss;
      best = c;
    }
    if (levels.size() <= kMaxScaledClasses && least * weight > kTableBits) break;
    levels[best] = join(best);
    bits[best] = joint_bits[best];
    levels.erase(levels.begin() + best + 1);
    bits.erase(bits.begin() + best + 1);
    last.erase(last.begin() + best);
    joint_bits.erase(joint_bits.begin() + best);
    if (best > 0) joint_bits[best - 1] = EntropyBits(join(best - 1).differences);
    if (best < joint_bits.size()) joint_bits[best] = EntropyBits(join(best).differences);
  }
  map.count = static_cast<int>(levels.size());
  size_t c = 0;
  for (size_t level = 0; level < kLevels; ++level) {
    map.class_of_level[level] = static_cast<uint8_t>(c);
    if (level == last[c]) ++c;
  }
  return levels;
}

// Sets the direct classes and returns the bits of the sample.
double ChooseDirect(LaneFormat format, const std::vector<LevelStatistics>& classes, ClassMap& map) {
  const int mantissa_bits = std::max(0, format.mantissa_bits - map.zero_bits);
  double bits = 0;
  for (const LevelStatistics& one : classes) {
    bits += EntropyBits(one.differences) + one.difference_raw_bits;
  }
  double best = bits;
  map.direct_count = 0;
  for (size_t c = 0; c < classes.size(); ++c) {
    const LevelStatistics& one = classes[c];
    bits += EntropyBits(one.exponents) + one.lanes * mantissa_bits - EntropyBits(one.differences) -
            one.difference_raw_bits;
    if (bits >= best) continue;
    best = bits;
    map.direct_count = static_cast<int>(c) + 1;
  }
  return best;
}

template <typename T>
ClassPlan PlanWith(LaneFormat format, const ClassMap& delta_map, ScaleClasses scales,
                   const uint8_t* target, const uint8_t* parent, size_t lanes) {
  ClassPlan plan;
  plan.map.zero_bits = delta_map.zero_bits;
  plan.map.shift = delta_map.shift;
  std::vector<uint8_t> offsets(lanes + kernels::kValueSlack);
  std::vector<uint8_t> columns = scales.columns;
  columns.resize(columns.size() + kernels::kValueSlack);
  kernels::FillOffsets(scales.geometry, scales.rows.data(), columns.data(), lanes, offsets.data());
  plan.map.first = FirstLevel<T>(plan.map, offsets.data(), parent, lanes);
  std::vector<LevelStatistics> levels =
      SampleLevels<T>(format, plan.map, offsets.data(), target, parent, lanes);
  double sampled = 0;
  for (const LevelStatistics& level : levels) sampled += level.lanes;
  const double weight = static_cast<double>(lanes) / sampled;
  const std::vector<LevelStatistics> classes = JoinLevels(std::move(levels), weight, plan.map);
  plan.bits = weight * ChooseDirect(format, classes, plan.map) +
              kTableBits * static_cast<double>(classes.size()) + ClassesBits(scales.rows) +
              ClassesBits(scales.columns);
  plan.scales = std::move(scales);
  return plan;
}

template <typename T>
ClassPlan PlanScaledOf(LaneFormat format, const RowGeometry& geometry, const ClassMap& delta_map,
                       const uint8_t* target, const uint8_t* parent, size_t lanes) {
  const Values<T> values(format, delta_map);
  ScaleClasses scales = MeasureScales(values, geometry, target, parent, lanes);
  ScaleClasses rows_only = scales;
  std::fill(rows_only.columns.begin(), rows_only.columns.end(), kMiddleClass);
  ClassPlan both = PlanWith<T>(format, delta_map, std::move(scales), target, parent, lanes);
  ClassPlan by_row = PlanWith<T>(format, delta_map, std::move(rows_only), target, parent, lanes);
  return by_row.bits < both.bits ? by_row : both;
}

}  // namespace

std::optional<ClassPlan> PlanScaledDelta(LaneFormat format, const ChunkGeometry& geometry,
                                         const ClassPlan& delta, const uint8_t* target,
                                         const uint8_t* parent, size_t lanes) {
  const int exponent_bits = 8 * format.lane_bytes - 1 - format.mantissa_bits;
  const bool has_exponent = format.sign_magnitude && format.mantissa_bits > 0 &&
                            exponent_bits <= kMostExponentBits &&
                            delta.map.zero_bits <= format.mantissa_bits;
  const std::optional<RowGeometry> rows = RowsOf(geometry, lanes);
  if (!has_exponent || !rows.has_value()) return std::nullopt;
  ClassPlan plan;
  kernels::portable::WithLaneType(format.lane_bytes, [&](auto zero) {
    plan = PlanScaledOf<decltype(zero)>(format, *rows, delta.map, target, parent, lanes);
  });
  return plan;
}

}  // namespace wdelta
