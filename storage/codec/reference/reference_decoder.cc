#include "storage/codec/reference/reference_decoder.h"

#include <zstd.h>

#include <cstdint>
#include <vector>

#include "storage/base/status_macros.h"
#include "storage/codec/reference/reference_classes.h"
#include "storage/codec/reference/reference_lossy.h"
#include "storage/codec/reference/reference_runs.h"

namespace wdelta {
namespace {

absl::Status Bad(absl::string_view what) { return absl::DataLossError(what); }

using reference::Take;
using reference::TakeVarint;

absl::StatusOr<std::string> TakePlane(absl::string_view& rest, size_t lanes) {
  WDELTA_ASSIGN_OR_RETURN(const absl::string_view method, Take(rest, 1));
  if (method[0] == 0) {
    WDELTA_ASSIGN_OR_RETURN(const absl::string_view raw, Take(rest, lanes));
    return std::string(raw);
  }
  if (method[0] == 2) {
    WDELTA_ASSIGN_OR_RETURN(const absl::string_view byte, Take(rest, 1));
    return std::string(lanes, byte[0]);
  }
  if (method[0] != 1) return Bad("unknown plane method");
  WDELTA_ASSIGN_OR_RETURN(const uint64_t frame_bytes, TakeVarint(rest));
  WDELTA_ASSIGN_OR_RETURN(const absl::string_view frame, Take(rest, frame_bytes));
  if (ZSTD_findFrameCompressedSize(frame.data(), frame.size()) != frame.size()) {
    return Bad("not one zstd frame");
  }
  std::string plane(lanes, '\0');
  const size_t decoded = ZSTD_decompress(plane.data(), lanes, frame.data(), frame.size());
  if (ZSTD_isError(decoded) || decoded != lanes) return Bad("plane of another size");
  return plane;
}

uint64_t LaneAt(absl::string_view bytes, size_t lane, int lane_bytes) {
  uint64_t value = 0;
  for (int i = 0; i < lane_bytes; ++i) {
    value |= uint64_t{static_cast<uint8_t>(bytes[lane * lane_bytes + i])} << (8 * i);
  }
  return value;
}

// All arithmetic is on `bits`-bit numbers held in 64 bits.
struct LaneArithmetic {
  int bits;
  uint64_t mask() const { return bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1; }
  uint64_t sign_bit() const { return uint64_t{1} << (bits - 1); }

  uint64_t ToMonotone(uint64_t raw) const {
    const bool negative = (raw & sign_bit()) != 0;
    return negative ? ~raw & mask() : raw | sign_bit();
  }
  uint64_t FromMonotone(uint64_t monotone) const {
    const bool negative = (monotone & sign_bit()) == 0;
    return negative ? ~monotone & mask() : monotone & ~sign_bit();
  }
  // 0, 1, 2, 3, 4 stand for 0, -1, 1, -2, 2.
  uint64_t Unzigzag(uint64_t code) const {
    const uint64_t half = code / 2;
    return (code % 2 == 0 ? half : ~half) & mask();
  }
  uint64_t RotateRight(uint64_t code) const { return code / 2 | (code % 2 == 1 ? sign_bit() : 0); }
};

absl::StatusOr<std::string> DecodePlanes(LaneFormat format, bool is_delta,
                                         absl::string_view payload, absl::string_view parent,
                                         size_t size) {
  const int lane_bytes = format.lane_bytes;
  const size_t lanes = size / lane_bytes;
  if (lanes == 0) return Bad("planes of no lane");
  std::vector<std::string> planes;
  for (int p = 0; p < lane_bytes; ++p) {
    WDELTA_ASSIGN_OR_RETURN(std::string plane, TakePlane(payload, lanes));
    planes.push_back(std::move(plane));
  }
  if (payload.size() != size % lane_bytes) return Bad("payload ends late or early");

  const LaneArithmetic arithmetic{8 * lane_bytes};
  std::string out;
  for (size_t i = 0; i < lanes; ++i) {
    uint64_t lane = 0;
    for (int p = 0; p < lane_bytes; ++p) {
      lane |= uint64_t{static_cast<uint8_t>(planes[p][i])} << (8 * p);
    }
    if (is_delta) {
      const uint64_t raw = LaneAt(parent, i, lane_bytes);
      const uint64_t base = format.sign_magnitude ? arithmetic.ToMonotone(raw) : raw;
      lane = (base + arithmetic.Unzigzag(lane)) & arithmetic.mask();
      if (format.sign_magnitude) lane = arithmetic.FromMonotone(lane);
    } else if (format.sign_magnitude) {
      lane = arithmetic.RotateRight(lane);
    }
    for (int b = 0; b < lane_bytes; ++b) out.push_back(static_cast<char>(lane >> (8 * b) & 0xff));
  }
  out.append(payload.data(), payload.size());
  return out;
}

absl::StatusOr<std::string> DecodeLanes(LaneFormat format, ChunkMode mode,
                                        absl::string_view payload, absl::string_view parent,
                                        size_t size) {
  const size_t lanes = size / format.lane_bytes;
  const size_t tail_bytes = size % format.lane_bytes;
  if (lanes == 0 || payload.size() < tail_bytes) return Bad("no whole lane, or no tail");
  const absl::string_view tail = payload.substr(payload.size() - tail_bytes);
  payload.remove_suffix(tail_bytes);
  absl::StatusOr<std::string> out;
  if (mode == ChunkMode::kSparse) {
    out = reference::DecodeSparse(format, payload, parent, lanes);
  } else {
    out = reference::DecodeClasses(format, mode, payload, parent, lanes);
  }
  if (out.ok()) out->append(tail.data(), tail.size());
  return out;
}

}  // namespace

absl::StatusOr<std::string> ReferenceDecode(LaneFormat format, ChunkMode mode,
                                            absl::string_view payload,
                                            std::optional<absl::string_view> parent, size_t size) {
  std::string extended(parent.value_or(""));
  if (extended.size() > size) return absl::InvalidArgumentError("parent longer than target");
  if (NeedsParent(mode) && !parent.has_value()) return absl::InvalidArgumentError("no parent");
  extended.resize(size, '\0');
  switch (mode) {
    case ChunkMode::kRaw:
      if (payload.size() != size) return Bad("raw payload of another size");
      return std::string(payload);
    case ChunkMode::kSame:
      if (!payload.empty()) return Bad("payload of a chunk that has none");
      return extended;
    case ChunkMode::kConst: {
      if (payload.size() != static_cast<size_t>(format.lane_bytes) || size < payload.size()) {
        return Bad("constant of another size");
      }
      std::string out;
      for (size_t i = 0; i < size; ++i) out.push_back(payload[i % payload.size()]);
      return out;
    }
    case ChunkMode::kPlanes:
      return DecodePlanes(format, false, payload, extended, size);
    case ChunkMode::kDeltaPlanes:
      return DecodePlanes(format, true, payload, extended, size);
    case ChunkMode::kContextDelta:
    case ChunkMode::kDirect:
    case ChunkMode::kSparse:
    case ChunkMode::kScaledDelta:
      return DecodeLanes(format, mode, payload, extended, size);
    case ChunkMode::kQuantised:
      return reference::DecodeQuantised(format.lane_bytes, payload, extended);
    case ChunkMode::kOneBit:
      return reference::DecodeOneBit(format.lane_bytes, payload, extended);
  }
  return Bad("unknown mode");
}

}  // namespace wdelta
