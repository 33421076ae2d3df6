#include "storage/codec/reference/reference_classes.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "storage/base/status_macros.h"
#include "storage/codec/reference/reference_runs.h"

namespace wdelta::reference {
namespace {

absl::Status Bad(absl::string_view what) { return absl::DataLossError(what); }

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

// Arithmetic on numbers of `bits` bits, held in 64.
struct Maths {
  int bits;
  bool sign_magnitude;

  uint64_t Wrap(uint64_t x) const { return x & (~uint64_t{0} >> (64 - bits)); }
  uint64_t TopBit() const { return uint64_t{1} << (bits - 1); }
  uint64_t Magnitude(uint64_t x) const { return sign_magnitude ? x & ~TopBit() : x; }
  uint64_t ToOrdered(uint64_t x) const {
    if (!sign_magnitude) return x;
    return (x & TopBit()) != 0 ? Wrap(~x) : x | TopBit();
  }
  uint64_t FromOrdered(uint64_t m) const {
    if (!sign_magnitude) return m;
    return (m & TopBit()) != 0 ? m & ~TopBit() : Wrap(~m);
  }
  uint64_t ClearLow(uint64_t x, uint64_t count) const { return x >> count << count; }
};

struct Class {
  bool is_direct = true;
  size_t size = 0;
  uint64_t low_bits = 0;
  uint64_t bias = 0;
  std::vector<uint64_t> values;
};

// What mode 9 has beside mode 6.
struct Scales {
  size_t row_lanes = 0;
  size_t first_row_lanes = 0;
  uint64_t bounds = 0;
  std::vector<uint8_t> rows;
  std::vector<uint8_t> columns;
};

struct Layout {
  uint64_t zero_bits = 0;
  uint64_t shift = 0;
  uint64_t first = 0;
  std::optional<Scales> scales;
  std::vector<Class> classes;
};

absl::StatusOr<uint64_t> TakeAtMost(absl::string_view& rest, uint64_t most) {
  WDELTA_ASSIGN_OR_RETURN(const uint64_t value, TakeVarint(rest));
  if (value > most) return Bad("field out of range");
  return value;
}

// Returns the number of classes.
absl::StatusOr<uint64_t> TakeScales(size_t lanes, absl::string_view& rest, Scales& scales) {
  WDELTA_ASSIGN_OR_RETURN(scales.row_lanes, TakeAtMost(rest, lanes));
  WDELTA_ASSIGN_OR_RETURN(scales.first_row_lanes, TakeAtMost(rest, scales.row_lanes));
  if (scales.first_row_lanes == 0) return Bad("no lane in the first row");
  WDELTA_ASSIGN_OR_RETURN(scales.bounds, TakeAtMost(rest, 0x7fffffff));
  uint64_t classes = 1;
  for (int bit = 0; bit < 31; ++bit) classes += scales.bounds >> bit & 1;
  return classes;
}

absl::StatusOr<Layout> TakeLayout(const Maths& maths, ChunkMode mode, size_t lanes,
                                  absl::string_view& rest) {
  const bool has_parent = mode != ChunkMode::kDirect;
  Layout layout;
  const uint64_t top = maths.bits - 1;
  WDELTA_ASSIGN_OR_RETURN(layout.zero_bits, TakeAtMost(rest, top));
  uint64_t count = 1;
  uint64_t direct_count = 1;
  if (has_parent) {
    WDELTA_ASSIGN_OR_RETURN(layout.shift, TakeAtMost(rest, top));
    WDELTA_ASSIGN_OR_RETURN(layout.first, TakeAtMost(rest, maths.Wrap(~uint64_t{0})));
    if (mode == ChunkMode::kScaledDelta) {
      WDELTA_ASSIGN_OR_RETURN(count, TakeScales(lanes, rest, layout.scales.emplace()));
    } else {
      WDELTA_ASSIGN_OR_RETURN(count, TakeAtMost(rest, 32));
    }
    if (count == 0) return Bad("no class");
    WDELTA_ASSIGN_OR_RETURN(direct_count, TakeAtMost(rest, count));
  }
  layout.classes.resize(count);
  size_t left = lanes;
  for (uint64_t c = 0; c < count; ++c) {
    Class& one = layout.classes[c];
    one.is_direct = c < direct_count;
    one.size = left;
    if (c + 1 < count) {
      WDELTA_ASSIGN_OR_RETURN(one.size, TakeAtMost(rest, left));
    }
    left -= one.size;
  }
  const bool is_byte = maths.bits == 8;
  uint64_t raw_count = 0;
  if (has_parent && !is_byte) {
    WDELTA_ASSIGN_OR_RETURN(raw_count, TakeAtMost(rest, count));
  }
  for (uint64_t c = 0; c < count; ++c) {
    Class& one = layout.classes[c];
    if (!one.is_direct) one.bias = static_cast<uint64_t>(is_byte ? -128 : -127);
    if (is_byte || one.size == 0 || (!one.is_direct && c >= raw_count)) continue;
    WDELTA_ASSIGN_OR_RETURN(one.low_bits, TakeAtMost(rest, top));
    if (!one.is_direct) continue;
    WDELTA_ASSIGN_OR_RETURN(one.bias, TakeAtMost(rest, maths.Wrap(~uint64_t{0})));
  }
  return layout;
}

absl::Status TakeRawBits(absl::string_view& rest, Class& one) {
  for (uint64_t plane = 0; plane < one.low_bits / 8; ++plane) {
    WDELTA_ASSIGN_OR_RETURN(const absl::string_view bytes, Take(rest, one.size));
    for (size_t i = 0; i < one.size; ++i) {
      one.values[i] |= uint64_t{static_cast<uint8_t>(bytes[i])} << (8 * plane);
    }
  }
  for (uint64_t bit = one.low_bits / 8 * 8; bit < one.low_bits; ++bit) {
    WDELTA_ASSIGN_OR_RETURN(const absl::string_view bytes, Take(rest, (one.size + 7) / 8));
    for (size_t i = 0; i < one.size; ++i) {
      one.values[i] |= uint64_t{static_cast<uint8_t>(bytes[i / 8]) >> (i % 8) & 1u} << bit;
    }
  }
  return absl::OkStatus();
}

absl::Status TakeValues(const Maths& maths, size_t lanes, absl::string_view& rest, Layout& layout) {
  std::vector<size_t> sizes;
  if (layout.scales.has_value()) {
    size_t rows = 1;
    for (size_t end = layout.scales->first_row_lanes; end < lanes; ++rows) {
      end += layout.scales->row_lanes;
    }
    sizes = {rows, layout.scales->row_lanes};
  }
  for (const Class& one : layout.classes) sizes.push_back(one.size);
  const size_t most_lanes = layout.scales.has_value() ? 64 : 32;
  WDELTA_ASSIGN_OR_RETURN(auto symbols, TakeRuns(rest, sizes, most_lanes));
  if (layout.scales.has_value()) {
    layout.scales->rows = symbols[0];
    layout.scales->columns = symbols[1];
    symbols.erase(symbols.begin(), symbols.begin() + 2);
  }
  for (size_t c = 0; c < symbols.size(); ++c) {
    Class& one = layout.classes[c];
    for (const uint8_t symbol : symbols[c]) {
      one.values.push_back(maths.Wrap((symbol + one.bias) << one.low_bits));
    }
    WDELTA_RETURN_IF_ERROR(TakeRawBits(rest, one));
  }
  if (maths.bits == 8) return absl::OkStatus();
  for (size_t c = 0; c < symbols.size(); ++c) {
    for (size_t i = 0; i < symbols[c].size(); ++i) {
      if (symbols[c][i] != 255) continue;
      WDELTA_ASSIGN_OR_RETURN(const absl::string_view escape, Take(rest, maths.bits / 8));
      layout.classes[c].values[i] = LaneAt(escape, 0, maths.bits / 8);
    }
  }
  return absl::OkStatus();
}

uint64_t DirectLane(const Maths& maths, uint64_t value, uint64_t zero_bits) {
  if (!maths.sign_magnitude) return maths.Wrap(value << zero_bits);
  const uint64_t magnitude = maths.Wrap(value / 2 << zero_bits) & ~maths.TopBit();
  return magnitude | (value % 2 == 1 ? maths.TopBit() : 0);
}

size_t ClassOf(const Maths& maths, const Layout& layout, uint64_t parent, size_t lane) {
  const uint64_t field = maths.Magnitude(parent) >> layout.shift;
  if (!layout.scales.has_value()) {
    return std::min<uint64_t>(std::max(field, layout.first) - layout.first,
                              layout.classes.size() - 1);
  }
  const Scales& scales = *layout.scales;
  const size_t place = lane + scales.row_lanes - scales.first_row_lanes;
  const uint64_t offset =
      (scales.rows[place / scales.row_lanes] + scales.columns[place % scales.row_lanes]) % 256;
  const uint64_t sum = maths.Wrap(2 * field + offset);
  const uint64_t level = std::min<uint64_t>(std::max(sum, layout.first) - layout.first, 31);
  size_t c = 0;
  for (uint64_t bit = 0; bit < level; ++bit) c += scales.bounds >> bit & 1;
  return c;
}

}  // namespace

absl::StatusOr<std::string> DecodeClasses(LaneFormat format, ChunkMode mode,
                                          absl::string_view payload, absl::string_view parent,
                                          size_t lanes) {
  const Maths maths{8 * format.lane_bytes, format.sign_magnitude};
  const bool has_parent = mode != ChunkMode::kDirect;
  WDELTA_ASSIGN_OR_RETURN(Layout layout, TakeLayout(maths, mode, lanes, payload));
  WDELTA_RETURN_IF_ERROR(TakeValues(maths, lanes, payload, layout));
  if (!payload.empty()) return Bad("payload ends late");
  std::vector<size_t> next(layout.classes.size(), 0);
  std::string out;
  for (size_t i = 0; i < lanes; ++i) {
    const uint64_t p = has_parent ? LaneAt(parent, i, format.lane_bytes) : 0;
    const size_t c = has_parent ? ClassOf(maths, layout, p, i) : 0;
    Class& one = layout.classes[c];
    if (next[c] == one.size) return Bad("class of another size");
    const uint64_t value = one.values[next[c]++];
    if (one.is_direct) {
      AppendLane(DirectLane(maths, value, layout.zero_bits), format.lane_bytes, out);
      continue;
    }
    const uint64_t base = maths.ClearLow(maths.ToOrdered(p), layout.zero_bits);
    const uint64_t ordered = maths.Wrap(base + (value << layout.zero_bits));
    AppendLane(maths.ClearLow(maths.FromOrdered(ordered), layout.zero_bits), format.lane_bytes,
               out);
  }
  return out;
}

absl::StatusOr<std::string> DecodeSparse(LaneFormat format, absl::string_view payload,
                                         absl::string_view parent, size_t lanes) {
  const Maths maths{8 * format.lane_bytes, format.sign_magnitude};
  std::vector<uint64_t> out_lanes;
  for (size_t i = 0; i < lanes; ++i) out_lanes.push_back(LaneAt(parent, i, format.lane_bytes));
  size_t at = 0;
  while (!payload.empty()) {
    WDELTA_ASSIGN_OR_RETURN(const uint64_t gap, TakeVarint(payload));
    if (gap >= lanes - at) return Bad("gap beyond the end");
    at += gap;
    WDELTA_ASSIGN_OR_RETURN(const uint64_t code, TakeVarint(payload));
    if (code == 0 || code != maths.Wrap(code)) return Bad("difference out of range");
    const uint64_t difference = code % 2 == 0 ? code / 2 : ~(code / 2);
    out_lanes[at] = maths.FromOrdered(maths.Wrap(maths.ToOrdered(out_lanes[at]) + difference));
    ++at;
  }
  std::string out;
  for (const uint64_t lane : out_lanes) AppendLane(lane, format.lane_bytes, out);
  return out;
}

}  // namespace wdelta::reference
