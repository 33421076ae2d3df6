#include "storage/codec/class_coder.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "storage/codec/kernels/value_kernels.h"

namespace wdelta {
namespace {

using kernels::ClassMap;
using kernels::ClassStarts;
using kernels::kEscape;
using kernels::kLevels;
using kernels::kMaxClasses;
using kernels::kValueSlack;
using kernels::RowGeometry;
using kernels::ValueFormat;

absl::Status Refuse(absl::string_view field, uint64_t least, uint64_t most, uint64_t found) {
  return absl::DataLossError(
      absl::StrCat(field, ": expected ", least, " to ", most, ", found ", found));
}

absl::StatusOr<uint64_t> ReadBounded(ByteReader& reader, absl::string_view field, uint64_t least,
                                     uint64_t most) {
  WDELTA_ASSIGN_OR_RETURN(const uint64_t value, reader.ReadVarint(field));
  if (value < least || value > most) return Refuse(field, least, most, value);
  return value;
}

int BitsOf(LaneFormat format) { return 8 * format.lane_bytes; }

uint64_t LargestLane(LaneFormat format) { return ~uint64_t{0} >> (64 - BitsOf(format)); }

// The symbols of a class that is not direct stand for differences around 0.
void FillSigned(LaneFormat format, ValueFormat& values) {
  values.is_signed = true;
  values.bias = static_cast<uint64_t>(format.lane_bytes == 1 ? -128 : -127);
}

RunLanes MostLanes(bool has_scales) { return has_scales ? RunLanes::kUpTo64 : RunLanes::kUpTo32; }

int MaxSymbol(LaneFormat format) { return format.lane_bytes == 1 ? 255 : 254; }

void AppendLane(LaneFormat format, uint64_t lane, std::string& out) {
  for (int i = 0; i < format.lane_bytes; ++i) AppendU8(out, static_cast<uint8_t>(lane >> (8 * i)));
}

uint64_t LaneAt(LaneFormat format, absl::string_view bytes, size_t index) {
  uint64_t lane = 0;
  for (int i = 0; i < format.lane_bytes; ++i) {
    lane |= uint64_t{static_cast<uint8_t>(bytes[index * format.lane_bytes + i])} << (8 * i);
  }
  return lane;
}

// Bit i: level i + 1 is in another class than level i.
uint32_t ClassBounds(const ClassMap& map) {
  uint32_t bounds = 0;
  for (int level = 1; level < kLevels; ++level) {
    const bool is_bound = map.class_of_level[level] != map.class_of_level[level - 1];
    bounds |= (is_bound ? 1u : 0u) << (level - 1);
  }
  return bounds;
}

void SetClassesOfLevels(uint32_t bounds, ClassMap& map) {
  for (int level = 1; level < kLevels; ++level) {
    const uint32_t is_bound = bounds >> (level - 1) & 1;
    map.class_of_level[level] = static_cast<uint8_t>(map.class_of_level[level - 1] + is_bound);
  }
  map.count = map.class_of_level[kLevels - 1] + 1;
}

void WriteHeader(LaneFormat format, bool has_parent, const ClassMap& map,
                 const std::optional<ScaleClasses>& scales, const std::vector<size_t>& counts,
                 const std::vector<ValueFormat>& formats, std::string& out) {
  AppendVarint(out, map.zero_bits);
  if (has_parent) {
    AppendVarint(out, map.shift);
    AppendVarint(out, map.first);
    if (scales.has_value()) {
      AppendVarint(out, scales->geometry.row_lanes);
      AppendVarint(out, scales->geometry.first_row_lanes);
      AppendVarint(out, ClassBounds(map));
    } else {
      AppendVarint(out, map.count);
    }
    AppendVarint(out, map.direct_count);
    for (int c = 0; c + 1 < map.count; ++c) AppendVarint(out, counts[c]);
  }
  if (format.lane_bytes == 1) return;
  // Upper classes need fewer raw bits, mostly none.
  int raw_count = map.count;
  while (raw_count > map.direct_count && formats[raw_count - 1].low_bits == 0) --raw_count;
  if (has_parent) AppendVarint(out, raw_count);
  for (int c = 0; c < map.count; ++c) {
    const bool is_direct = c < map.direct_count;
    if (counts[c] == 0 || (!is_direct && c >= raw_count)) continue;
    AppendVarint(out, formats[c].low_bits);
    if (is_direct) AppendVarint(out, formats[c].bias);
  }
}

const uint8_t* FindEscape(const uint8_t* begin, const uint8_t* end) {
  return static_cast<const uint8_t*>(std::memchr(begin, kEscape, static_cast<size_t>(end - begin)));
}

}  // namespace

uint8_t* ClassCoder::ValuesAt(LaneFormat format, size_t lane) {
  return reinterpret_cast<uint8_t*>(values_.get()) + lane * format.lane_bytes;
}

ClassStarts ClassCoder::Arrange(LaneFormat format, const std::vector<size_t>& counts,
                                size_t slack_lanes) {
  ClassStarts starts{};
  size_t next = 0;
  for (size_t c = 0; c < counts.size(); ++c) {
    starts[c] = next;
    next += (counts[c] + kValueSlack + 7) / 8 * 8;
  }
  const size_t needed = ((next + slack_lanes) * format.lane_bytes + 7) / 8;
  if (value_capacity_ < needed) {
    values_ = std::make_unique<uint64_t[]>(needed);
    value_capacity_ = needed;
  }
  return starts;
}

ClassMap ClassCoder::WithOffsets(const ClassMap& map, const RowGeometry& geometry,
                                 const uint8_t* rows, const uint8_t* columns, size_t lanes) {
  offsets_.resize(lanes + kValueSlack);
  kernels::FillOffsets(geometry, rows, columns, lanes, offsets_.data());
  ClassMap with_offsets = map;
  with_offsets.offsets = offsets_.data();
  return with_offsets;
}

std::string ClassCoder::Encode(LaneFormat format, const ClassPlan& plan, const uint8_t* target,
                               const uint8_t* parent, size_t lanes) {
  ClassMap map = plan.map;
  std::vector<SymbolRun> runs;
  if (plan.scales.has_value()) {
    const ScaleClasses& scales = *plan.scales;
    runs.push_back({scales.rows.data(), scales.rows.size()});
    runs.push_back({scales.columns.data(), scales.columns.size()});
    symbols_ = scales.columns;
    symbols_.resize(symbols_.size() + kValueSlack);
    map = WithOffsets(map, scales.geometry, scales.rows.data(), symbols_.data(), lanes);
  }
  std::vector<size_t> counts(map.count, lanes);
  if (map.count > 1) kernels::CountClasses(format, map, parent, lanes, counts.data());
  const ClassStarts starts = Arrange(format, counts, 0);
  kernels::SplitClasses(format, map, target, parent, lanes, starts, values_.get());

  std::vector<ValueFormat> formats(map.count);
  symbols_.resize(lanes + kValueSlack);
  escapes_.clear();
  std::string raw;
  size_t done = 0;
  for (int c = 0; c < map.count; ++c) {
    if (counts[c] == 0) continue;
    const uint8_t* values = ValuesAt(format, starts[c]);
    formats[c] = PlanValues(format, map, c < map.direct_count, values, counts[c]);
    raw_.resize(kernels::RawBytes(formats[c].low_bits, counts[c]) + kValueSlack);
    kernels::TakeApart(format, formats[c], values, counts[c], symbols_.data() + done, raw_.data(),
                       escapes_);
    raw.append(reinterpret_cast<const char*>(raw_.data()), raw_.size() - kValueSlack);
    runs.push_back({symbols_.data() + done, counts[c]});
    done += counts[c];
  }
  std::string payload;
  WriteHeader(format, parent != nullptr, map, plan.scales, counts, formats, payload);
  run_encoder_.Append(runs, payload, MostLanes(plan.scales.has_value()));
  payload += raw;
  for (const uint64_t escape : escapes_) AppendLane(format, escape, payload);
  return payload;
}

absl::Status ClassCoder::ReadClasses(LaneFormat format, ChunkMode mode, size_t lanes,
                                     ByteReader& reader, Header& header) {
  ClassMap& map = header.map;
  const uint64_t top_bit = BitsOf(format) - 1;
  WDELTA_ASSIGN_OR_RETURN(map.shift, ReadBounded(reader, "class shift", 0, top_bit));
  WDELTA_ASSIGN_OR_RETURN(map.first, ReadBounded(reader, "first class", 0, LargestLane(format)));
  if (mode == ChunkMode::kScaledDelta) {
    RowGeometry& geometry = header.geometry.emplace();
    WDELTA_ASSIGN_OR_RETURN(geometry.row_lanes, ReadBounded(reader, "row", 1, lanes));
    WDELTA_ASSIGN_OR_RETURN(geometry.first_row_lanes,
                            ReadBounded(reader, "first row", 1, geometry.row_lanes));
    constexpr uint64_t kAllBounds = (uint64_t{1} << (kLevels - 1)) - 1;
    WDELTA_ASSIGN_OR_RETURN(const uint64_t bounds,
                            ReadBounded(reader, "bounds of classes", 0, kAllBounds));
    SetClassesOfLevels(static_cast<uint32_t>(bounds), map);
  } else {
    WDELTA_ASSIGN_OR_RETURN(map.count, ReadBounded(reader, "classes", 1, kMaxClasses));
  }
  WDELTA_ASSIGN_OR_RETURN(map.direct_count, ReadBounded(reader, "direct classes", 0, map.count));
  size_t rest = lanes;
  for (int c = 0; c + 1 < map.count; ++c) {
    WDELTA_ASSIGN_OR_RETURN(const uint64_t count, ReadBounded(reader, "class size", 0, rest));
    header.counts.push_back(count);
    rest -= count;
  }
  header.counts.push_back(rest);
  return absl::OkStatus();
}

absl::StatusOr<ClassCoder::Header> ClassCoder::ReadHeader(LaneFormat format, ChunkMode mode,
                                                          size_t lanes, ByteReader& reader) {
  Header header;
  ClassMap& map = header.map;
  const bool has_parent = mode != ChunkMode::kDirect;
  const uint64_t top_bit = BitsOf(format) - 1;
  WDELTA_ASSIGN_OR_RETURN(map.zero_bits, ReadBounded(reader, "zero bits", 0, top_bit));
  if (has_parent) {
    WDELTA_RETURN_IF_ERROR(ReadClasses(format, mode, lanes, reader, header));
  } else {
    map.direct_count = 1;
    header.counts.push_back(lanes);
  }
  header.formats.resize(map.count);
  int raw_count = 0;
  if (has_parent && format.lane_bytes > 1) {
    WDELTA_ASSIGN_OR_RETURN(raw_count, ReadBounded(reader, "raw classes", 0, map.count));
  }
  for (int c = 0; c < map.count; ++c) {
    ValueFormat& values = header.formats[c];
    values.max_symbol = MaxSymbol(format);
    const bool is_direct = c < map.direct_count;
    if (!is_direct) FillSigned(format, values);
    if (format.lane_bytes == 1 || header.counts[c] == 0) continue;
    if (!is_direct && c >= raw_count) continue;
    WDELTA_ASSIGN_OR_RETURN(values.low_bits, ReadBounded(reader, "low bits", 0, top_bit));
    if (!is_direct) continue;
    WDELTA_ASSIGN_OR_RETURN(values.bias, ReadBounded(reader, "bias", 0, LargestLane(format)));
  }
  return header;
}

absl::Status ClassCoder::ReadValues(LaneFormat format, const Header& header,
                                    const ClassStarts& starts, ByteReader& reader) {
  std::vector<size_t> runs = header.counts;
  const size_t lanes = std::accumulate(runs.begin(), runs.end(), size_t{0});
  size_t scales = 0;  // symbols of the runs before those of the classes
  if (header.geometry.has_value()) {
    const size_t rows = header.geometry->Rows(lanes);
    runs.insert(runs.begin(), {rows, header.geometry->row_lanes});
    scales = rows + header.geometry->row_lanes;
  }
  symbols_.resize(scales + lanes + kValueSlack + RunDecoder::kOverrunBytes);
  WDELTA_RETURN_IF_ERROR(
      run_decoder_.Read(reader, runs, symbols_.data(), MostLanes(header.geometry.has_value())));
  size_t raw_bytes = 0;
  for (int c = 0; c < header.map.count; ++c) {
    raw_bytes += kernels::RawBytes(header.formats[c].low_bits, header.counts[c]);
  }
  WDELTA_ASSIGN_OR_RETURN(const absl::string_view raw, reader.ReadBytes(raw_bytes, "raw bits"));
  WDELTA_ASSIGN_OR_RETURN(const absl::string_view escapes,
                          reader.ReadBytes(reader.remaining(), "escapes"));
  if (escapes.size() % format.lane_bytes != 0) return absl::DataLossError("escapes: not whole");
  const size_t escape_count = escapes.size() / format.lane_bytes;
  const uint8_t* raw_at = reinterpret_cast<const uint8_t*>(raw.data());
  const uint8_t* symbols = symbols_.data() + scales;
  size_t used = 0;
  for (int c = 0; c < header.map.count; ++c) {
    const size_t count = header.counts[c];
    const ValueFormat& values_format = header.formats[c];
    uint8_t* const values = ValuesAt(format, starts[c]);
    kernels::PutTogether(format, values_format, symbols, raw_at, count, values);
    if (values_format.max_symbol < kEscape) {
      const uint8_t* const end = symbols + count;
      for (const uint8_t* at = FindEscape(symbols, end); at != nullptr;
           at = FindEscape(at + 1, end)) {
        if (used == escape_count) return absl::DataLossError("escapes: end early");
        const uint64_t lane = LaneAt(format, escapes, used++);
        for (int i = 0; i < format.lane_bytes; ++i) {
          values[(at - symbols) * format.lane_bytes + i] = static_cast<uint8_t>(lane >> (8 * i));
        }
      }
    }
    raw_at += kernels::RawBytes(values_format.low_bits, count);
    symbols += count;
  }
  if (used != escape_count) return absl::DataLossError("escapes: too many");
  return absl::OkStatus();
}

absl::Status ClassCoder::Decode(LaneFormat format, ChunkMode mode, absl::string_view payload,
                                const uint8_t* parent, size_t lanes, uint8_t* target) {
  if (mode == ChunkMode::kDirect) parent = nullptr;
  ByteReader reader(payload);
  WDELTA_ASSIGN_OR_RETURN(const Header header, ReadHeader(format, mode, lanes, reader));
  // Counts that are not the parent's make a class be read on into what lies behind.
  const ClassStarts starts = Arrange(format, header.counts, lanes + kValueSlack);
  WDELTA_RETURN_IF_ERROR(ReadValues(format, header, starts, reader));
  ClassMap map = header.map;
  if (header.geometry.has_value()) {
    const uint8_t* const rows = symbols_.data();
    map = WithOffsets(map, *header.geometry, rows, rows + header.geometry->Rows(lanes), lanes);
  }
  ClassStarts ends = starts;
  kernels::MergeClasses(format, map, parent, lanes, ends, values_.get(), target);
  for (int c = 0; c < header.map.count; ++c) {
    if (ends[c] - starts[c] == header.counts[c]) continue;
    return absl::DataLossError(absl::StrCat("class ", c, ": expected ", ends[c] - starts[c],
                                            " lanes, as the parent has, found ", header.counts[c]));
  }
  return absl::OkStatus();
}

}  // namespace wdelta
