#include "storage/codec/reference/reference_lossy.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "storage/base/status_macros.h"
#include "storage/codec/reference/reference_runs.h"

namespace wdelta::reference {
namespace {

absl::Status Bad(absl::string_view what) { return absl::DataLossError(what); }

// A binary interchange format of IEEE 754, or BF16.
struct Format {
  int lane_bytes, exponent_bits, mantissa_bits;

  int Bias() const { return (1 << (exponent_bits - 1)) - 1; }
  uint64_t ExponentField(uint64_t lane) const {
    return lane >> mantissa_bits & ((uint64_t{1} << exponent_bits) - 1);
  }
  int UlpExponent(uint64_t lane) const {
    return std::max<int>(static_cast<int>(ExponentField(lane)), 1) - Bias() - mantissa_bits;
  }
  bool IsNegative(uint64_t lane) const { return (lane >> (8 * lane_bytes - 1) & 1) != 0; }

  // Of a finite lane.
  double Value(uint64_t lane) const {
    uint64_t significand = lane & ((uint64_t{1} << mantissa_bits) - 1);
    if (ExponentField(lane) != 0) significand |= uint64_t{1} << mantissa_bits;
    const double magnitude = std::ldexp(static_cast<double>(significand), UlpExponent(lane));
    return IsNegative(lane) ? -magnitude : magnitude;
  }

  uint64_t Round(double value) const {
    const uint64_t sign = std::signbit(value) ? uint64_t{1} << (8 * lane_bytes - 1) : 0;
    const double magnitude = std::abs(value);
    const uint64_t infinity = ((uint64_t{1} << exponent_bits) - 1) << mantissa_bits;
    if (magnitude == 0) return sign;
    if (std::isinf(magnitude)) return sign | infinity;
    const int lowest = 1 - Bias();
    const int exponent = std::max(std::ilogb(magnitude), lowest);
    // Of units in the last place; one more than fits means the next exponent, which the sum
    // below turns it into. nearbyint takes the even one of two that are equally near.
    const auto units =
        static_cast<uint64_t>(std::nearbyint(std::ldexp(magnitude, mantissa_bits - exponent)));
    const uint64_t below = static_cast<uint64_t>(exponent - lowest) << mantissa_bits;
    return sign | std::min(infinity, below + units);
  }
};

absl::StatusOr<Format> TakeFormat(absl::string_view& rest, int lane_bytes) {
  WDELTA_ASSIGN_OR_RETURN(const absl::string_view dtype, Take(rest, 1));
  Format format{0, 0, 0};
  if (dtype[0] == 10) format = {2, 5, 10};
  if (dtype[0] == 11) format = {2, 8, 7};
  if (dtype[0] == 12) format = {4, 8, 23};
  if (dtype[0] == 13) format = {8, 11, 52};
  if (format.lane_bytes != lane_bytes) return Bad("dtype of a lossy chunk");
  return format;
}

// p + v or p - v, computed as the dtype asks and rounded to it.
uint64_t Sum(const Format& format, uint64_t parent, double value, bool negative) {
  const double p = format.Value(parent);
  if (format.lane_bytes == 8) return format.Round(negative ? p - value : p + value);
  const auto narrow = static_cast<float>(value);
  const auto base = static_cast<float>(p);
  const float sum = negative ? base - narrow : base + narrow;
  return format.Round(sum);
}

uint64_t LaneAt(absl::string_view bytes, size_t lane, int lane_bytes) {
  uint64_t value = 0;
  for (int i = lane_bytes - 1; i >= 0; --i) {
    value = value << 8 | static_cast<uint8_t>(bytes[lane * lane_bytes + i]);
  }
  return value;
}

void AppendLane(uint64_t value, int lane_bytes, std::string& out) {
  for (int i = 0; i < lane_bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i) & 0xff));
}

// The segment of each lane; one for all when there is none.
struct SegmentMap {
  bool is_whole = true;
  std::vector<size_t> of_lane;
  size_t count = 1;
};

absl::StatusOr<SegmentMap> TakeSegments(absl::string_view& rest, size_t lanes) {
  SegmentMap map;
  map.of_lane.assign(lanes, 0);
  WDELTA_ASSIGN_OR_RETURN(const uint64_t length, TakeVarint(rest));
  if (length == 0) return map;
  WDELTA_ASSIGN_OR_RETURN(const uint64_t first, TakeVarint(rest));
  if (first == 0 || first > length || first >= lanes) return Bad("first segment");
  map.is_whole = false;
  for (size_t i = first; i < lanes; ++i) map.of_lane[i] = 1 + (i - first) / length;
  map.count = map.of_lane.back() + 1;
  return map;
}

struct QuantisedHeader {
  double step = 0;
  std::array<int, 8> reduction{};
};

absl::StatusOr<QuantisedHeader> TakeQuantisedHeader(absl::string_view& rest) {
  QuantisedHeader header;
  WDELTA_ASSIGN_OR_RETURN(const absl::string_view step, Take(rest, 8));
  std::memcpy(&header.step, step.data(), 8);
  if (!(header.step >= 1e-30 && header.step <= 1e30)) return Bad("step");
  WDELTA_ASSIGN_OR_RETURN(const absl::string_view reductions, Take(rest, 14));
  for (size_t j = 1; j <= 7; ++j) {
    const auto value = static_cast<int>(LaneAt(reductions, j - 1, 2));
    header.reduction[j] = value >= 0x8000 ? value - 0x10000 : value;
  }
  return header;
}

double ValueOfMagnitude(const Format& format, const QuantisedHeader& header, int magnitude) {
  const double reduced = magnitude - header.reduction[std::min(magnitude, 7)] / 16384.0;
  if (format.lane_bytes == 8) return header.step * reduced;
  return static_cast<float>(header.step) * static_cast<float>(reduced);
}

// Symbols in order of the lanes.
absl::StatusOr<std::vector<uint8_t>> TakeSymbols(absl::string_view& rest, const Format& format,
                                                 double step, const SegmentMap& segments,
                                                 absl::string_view parent) {
  std::vector<uint8_t> segment_class(segments.count, 0);
  if (!segments.is_whole) {
    WDELTA_ASSIGN_OR_RETURN(const auto runs, TakeRuns(rest, {segments.count}));
    segment_class = runs[0];
  }
  std::vector<size_t> classes;
  std::vector<size_t> counts(48, 0);
  for (size_t i = 0; i < segments.of_lane.size(); ++i) {
    const size_t scale = segment_class[segments.of_lane[i]];
    if (scale > 7) return Bad("class of a segment");
    const int ulp = format.UlpExponent(LaneAt(parent, i, format.lane_bytes));
    const int octave = std::clamp(1 + ulp - std::ilogb(step), 0, 5);
    classes.push_back(8 * static_cast<size_t>(octave) + scale);
    ++counts[classes.back()];
  }
  WDELTA_ASSIGN_OR_RETURN(const auto runs, TakeRuns(rest, counts));
  std::vector<size_t> next(48, 0);
  std::vector<uint8_t> symbols;
  for (const size_t c : classes) symbols.push_back(runs[c][next[c]++]);
  return symbols;
}

}  // namespace

absl::StatusOr<std::string> DecodeQuantised(int lane_bytes, absl::string_view payload,
                                            absl::string_view parent) {
  WDELTA_ASSIGN_OR_RETURN(const Format format, TakeFormat(payload, lane_bytes));
  const size_t lanes = parent.size() / lane_bytes;
  if (lanes == 0 || parent.size() % lane_bytes != 0) return Bad("size of a lossy chunk");
  WDELTA_ASSIGN_OR_RETURN(const QuantisedHeader header, TakeQuantisedHeader(payload));
  WDELTA_ASSIGN_OR_RETURN(const SegmentMap segments, TakeSegments(payload, lanes));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<uint8_t> symbols,
                          TakeSymbols(payload, format, header.step, segments, parent));
  std::array<int, 64> states{};
  std::string out;
  for (size_t i = 0; i < lanes; ++i) {
    const uint64_t p = LaneAt(parent, i, lane_bytes);
    const int k = (symbols[i] + 1) / 2;
    int& state = states[i % 64];
    const int magnitude = k == 0 ? 0 : 2 * k - state % 2;
    const int parity = (state % 2 + state / 2 % 2 + state / 4) % 2;
    state = 2 * state % 8 + (k % 2 ^ parity);
    if (symbols[i] == 255) {
      WDELTA_ASSIGN_OR_RETURN(const absl::string_view lane, Take(payload, lane_bytes));
      out.append(lane.data(), lane.size());
    } else if (magnitude == 0) {
      AppendLane(p, lane_bytes, out);
    } else {
      const double value = ValueOfMagnitude(format, header, magnitude);
      AppendLane(Sum(format, p, value, symbols[i] % 2 == 1), lane_bytes, out);
    }
  }
  if (!payload.empty()) return Bad("payload ends late");
  return out;
}

absl::StatusOr<std::string> DecodeOneBit(int lane_bytes, absl::string_view payload,
                                         absl::string_view parent) {
  WDELTA_ASSIGN_OR_RETURN(const Format format, TakeFormat(payload, lane_bytes));
  const size_t lanes = parent.size() / lane_bytes;
  if (lanes == 0 || parent.size() % lane_bytes != 0) return Bad("size of a lossy chunk");
  WDELTA_ASSIGN_OR_RETURN(const SegmentMap segments, TakeSegments(payload, lanes));
  WDELTA_ASSIGN_OR_RETURN(const auto runs,
                          TakeRuns(payload, {segments.count, segments.count, (lanes + 7) / 8}));
  if (!payload.empty()) return Bad("payload ends late");
  constexpr Format kBF16{2, 8, 7};
  std::string out;
  for (size_t i = 0; i < lanes; ++i) {
    const uint64_t p = LaneAt(parent, i, lane_bytes);
    const size_t row = segments.of_lane[i];
    const uint64_t scale = runs[0][row] | static_cast<uint64_t>(runs[1][row]) << 8;
    const bool negative = (runs[2][i / 8] >> (i % 8) & 1) != 0;
    AppendLane(scale == 0 ? p : Sum(format, p, kBF16.Value(scale), negative), lane_bytes, out);
  }
  return out;
}

}  // namespace wdelta::reference
