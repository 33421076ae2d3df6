#include "storage/codec/codec.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/byte_reader.h"
#include "storage/base/status_macros.h"
#include "storage/codec/kernels/lane_kernels.h"
#include "storage/codec/plane_coder.h"

namespace wdelta {
namespace {

// Lanes looked at when modes are compared.
constexpr size_t kSampleLanes = 4096;
// The delta is taken without trying the lanes' own planes when its estimate is
// below this part of theirs.
constexpr double kClearlyBetter = 0.85;

const uint8_t* Bytes(absl::string_view view) {
  return reinterpret_cast<const uint8_t*>(view.data());
}

absl::Status CheckFormat(LaneFormat format) {
  switch (format.lane_bytes) {
    case 1:
    case 2:
    case 4:
    case 8:
      return absl::OkStatus();
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("lane_bytes: expected 1, 2, 4 or 8, found ", format.lane_bytes));
  }
}

absl::Status CheckParent(std::optional<absl::string_view> parent, size_t size) {
  if (!parent.has_value() || parent->size() <= size) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("parent: expected at most ", size, " bytes, found ", parent->size()));
}

// Order-0 entropy in bits of `count` bytes.
double EntropyBits(const uint8_t* bytes, size_t count) {
  std::array<uint32_t, 256> histogram{};
  for (size_t i = 0; i < count; ++i) ++histogram[bytes[i]];
  double bits = 0;
  for (const uint32_t n : histogram) {
    if (n != 0) bits -= n * std::log2(static_cast<double>(n) / static_cast<double>(count));
  }
  return bits;
}

// Fills `destination[0, size)` with `pattern` over and over, by doubling.
void Repeat(absl::string_view pattern, char* destination, size_t size) {
  std::memcpy(destination, pattern.data(), pattern.size());
  for (size_t filled = pattern.size(); filled < size;) {
    const size_t count = std::min(filled, size - filled);
    std::memcpy(destination + filled, destination, count);
    filled += count;
  }
}

// Every lane equals the first, and a ragged tail is its beginning.
bool IsConst(LaneFormat format, absl::string_view target) {
  const size_t lane_bytes = format.lane_bytes;
  return target.size() > lane_bytes &&
         std::memcmp(target.data(), target.data() + lane_bytes, target.size() - lane_bytes) == 0;
}

}  // namespace

absl::StatusOr<ChunkMode> ChunkModeFromByte(uint8_t byte) {
  if (byte < static_cast<uint8_t>(ChunkMode::kRaw) ||
      byte > static_cast<uint8_t>(ChunkMode::kDeltaPlanes)) {
    return absl::DataLossError(absl::StrCat("chunk mode: expected 1 to 5, found ", byte));
  }
  return static_cast<ChunkMode>(byte);
}

absl::string_view ChunkModeName(ChunkMode mode) {
  switch (mode) {
    case ChunkMode::kRaw:
      return "raw";
    case ChunkMode::kSame:
      return "same";
    case ChunkMode::kConst:
      return "const";
    case ChunkMode::kPlanes:
      return "planes";
    case ChunkMode::kDeltaPlanes:
      return "delta-planes";
  }
  return "unknown";
}

bool NeedsParent(ChunkMode mode) {
  return mode == ChunkMode::kSame || mode == ChunkMode::kDeltaPlanes;
}

LaneFormat LaneFormatOf(DType dtype) {
  return LaneFormat{.lane_bytes = LaneBytes(dtype), .sign_magnitude = IsSignMagnitude(dtype)};
}

struct ChunkCodec::State {
  PlaneCoder coder;
  std::unique_ptr<uint8_t[]> plane_bytes;  // all planes of a chunk, back to back
  size_t plane_capacity = 0;
  std::string extended_parent;  // a short parent, made as long as the target

  // Scratch for the planes of `lanes` lanes, contents undefined.
  kernels::Planes Planes(LaneFormat format, size_t lanes) {
    const size_t bytes = lanes * format.lane_bytes;
    if (plane_capacity < bytes) {
      plane_bytes.reset(new uint8_t[bytes]);
      plane_capacity = bytes;
    }
    kernels::Planes planes{};
    for (int p = 0; p < format.lane_bytes; ++p) planes[p] = plane_bytes.get() + p * lanes;
    return planes;
  }

  // The parent followed by zero bytes up to `size`; valid until the next call.
  absl::string_view Extend(absl::string_view parent, size_t size) {
    if (parent.size() == size) return parent;
    extended_parent.assign(parent.data(), parent.size());
    extended_parent.resize(size, '\0');
    return extended_parent;
  }

  void Split(LaneFormat format, absl::string_view target, const absl::string_view* parent,
             size_t lanes, const kernels::Planes& planes) {
    if (parent != nullptr) {
      kernels::SplitDelta(format, Bytes(target), Bytes(*parent), lanes, planes);
    } else {
      kernels::SplitLanes(format, Bytes(target), lanes, planes);
    }
  }

  // Payload of kDeltaPlanes, or of kPlanes when `parent` is null.
  absl::StatusOr<std::string> EncodePlanes(LaneFormat format, absl::string_view target,
                                           const absl::string_view* parent) {
    const size_t lanes = target.size() / format.lane_bytes;
    const kernels::Planes planes = Planes(format, lanes);
    Split(format, target, parent, lanes, planes);
    std::string payload;
    payload.reserve(target.size() / 2);
    for (int p = 0; p < format.lane_bytes; ++p) {
      const absl::string_view plane(reinterpret_cast<const char*>(planes[p]), lanes);
      WDELTA_RETURN_IF_ERROR(coder.Append(plane, payload));
    }
    absl::StrAppend(&payload, target.substr(lanes * format.lane_bytes));
    return payload;
  }

  // Order-0 estimate over lanes from the middle of the chunk.
  double EstimateBits(LaneFormat format, absl::string_view target,
                      const absl::string_view* parent) {
    const size_t lanes = target.size() / format.lane_bytes;
    const size_t sample = std::min(lanes, kSampleLanes);
    const size_t start_bytes = (lanes - sample) / 2 * format.lane_bytes;
    const kernels::Planes planes = Planes(format, sample);
    const absl::string_view parent_sample =
        parent == nullptr ? absl::string_view() : parent->substr(start_bytes);
    Split(format, target.substr(start_bytes), parent == nullptr ? nullptr : &parent_sample, sample,
          planes);
    double bits = 0;
    for (int p = 0; p < format.lane_bytes; ++p) bits += EntropyBits(planes[p], sample);
    return bits;
  }

  bool DeltaIsClearlyBetter(LaneFormat format, absl::string_view target, absl::string_view parent) {
    // Runs and matches decide for bytes: order-0 statistics say little.
    if (format.lane_bytes == 1) return false;
    return EstimateBits(format, target, &parent) <
           kClearlyBetter * EstimateBits(format, target, nullptr);
  }

  absl::Status DecodePlanes(LaneFormat format, absl::string_view payload,
                            const absl::string_view* parent, char* destination, size_t size) {
    const size_t lanes = size / format.lane_bytes;
    if (lanes == 0) {
      return absl::DataLossError(absl::StrCat("planes: expected a whole lane of ",
                                              format.lane_bytes, " bytes, found ", size));
    }
    const kernels::Planes scratch = Planes(format, lanes);
    kernels::ConstPlanes planes{};
    ByteReader reader(payload);
    for (int p = 0; p < format.lane_bytes; ++p) {
      WDELTA_ASSIGN_OR_RETURN(planes[p], coder.Read(reader, lanes, scratch[p]));
    }
    const size_t tail_bytes = size % format.lane_bytes;
    if (reader.remaining() != tail_bytes) {
      return absl::DataLossError(absl::StrCat("payload: expected ", tail_bytes,
                                              " bytes behind the planes, found ",
                                              reader.remaining()));
    }
    WDELTA_ASSIGN_OR_RETURN(const absl::string_view tail, reader.ReadBytes(tail_bytes, "tail"));
    uint8_t* out = reinterpret_cast<uint8_t*>(destination);
    if (parent != nullptr) {
      kernels::MergeDelta(format, planes, Bytes(*parent), lanes, out);
    } else {
      kernels::MergeLanes(format, planes, lanes, out);
    }
    if (tail_bytes != 0) std::memcpy(destination + size - tail_bytes, tail.data(), tail_bytes);
    return absl::OkStatus();
  }
};

ChunkCodec::ChunkCodec() : state_(std::make_unique<State>()) {}
ChunkCodec::~ChunkCodec() = default;
ChunkCodec::ChunkCodec(ChunkCodec&&) noexcept = default;
ChunkCodec& ChunkCodec::operator=(ChunkCodec&&) noexcept = default;

absl::StatusOr<EncodedChunk> ChunkCodec::Encode(LaneFormat format, absl::string_view target,
                                                std::optional<absl::string_view> parent) {
  WDELTA_RETURN_IF_ERROR(CheckFormat(format));
  WDELTA_RETURN_IF_ERROR(CheckParent(parent, target.size()));
  if (target.empty()) return EncodedChunk{ChunkMode::kRaw, ""};

  std::optional<absl::string_view> extended;
  if (parent.has_value()) extended = state_->Extend(*parent, target.size());
  if (extended.has_value() && *extended == target) return EncodedChunk{ChunkMode::kSame, ""};
  if (IsConst(format, target)) {
    return EncodedChunk{ChunkMode::kConst, std::string(target.substr(0, format.lane_bytes))};
  }

  // Nothing is copied for kRaw until it is known to win.
  EncodedChunk best{ChunkMode::kRaw, ""};
  size_t best_bytes = target.size();
  const auto consider = [&](ChunkMode mode, std::string payload) {
    if (payload.size() >= best_bytes) return;
    best_bytes = payload.size();
    best = EncodedChunk{mode, std::move(payload)};
  };
  const bool has_whole_lane = target.size() >= static_cast<size_t>(format.lane_bytes);
  bool try_planes = has_whole_lane;
  // An empty parent is all zeros: its difference tells no more than the lanes.
  if (has_whole_lane && extended.has_value() && !parent->empty()) {
    WDELTA_ASSIGN_OR_RETURN(std::string payload, state_->EncodePlanes(format, target, &*extended));
    consider(ChunkMode::kDeltaPlanes, std::move(payload));
    try_planes = !state_->DeltaIsClearlyBetter(format, target, *extended);
  }
  if (try_planes) {
    WDELTA_ASSIGN_OR_RETURN(std::string payload, state_->EncodePlanes(format, target, nullptr));
    consider(ChunkMode::kPlanes, std::move(payload));
  }
  if (best.mode == ChunkMode::kRaw) best.payload = std::string(target);
  return best;
}

absl::Status ChunkCodec::Decode(LaneFormat format, ChunkMode mode, absl::string_view payload,
                                std::optional<absl::string_view> parent, char* destination,
                                size_t size) {
  WDELTA_RETURN_IF_ERROR(CheckFormat(format));
  WDELTA_RETURN_IF_ERROR(CheckParent(parent, size));
  absl::string_view extended;
  if (NeedsParent(mode)) {
    if (!parent.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("parent: expected for mode ", ChunkModeName(mode), ", found none"));
    }
    extended = state_->Extend(*parent, size);
  }
  const auto check_payload = [&](size_t expected) -> absl::Status {
    if (payload.size() == expected) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("payload of mode ", ChunkModeName(mode), ": expected ",
                                            expected, " bytes, found ", payload.size()));
  };
  switch (mode) {
    case ChunkMode::kRaw:
      WDELTA_RETURN_IF_ERROR(check_payload(size));
      if (size != 0) std::memcpy(destination, payload.data(), size);
      return absl::OkStatus();
    case ChunkMode::kSame:
      WDELTA_RETURN_IF_ERROR(check_payload(0));
      if (size != 0) std::memcpy(destination, extended.data(), size);
      return absl::OkStatus();
    case ChunkMode::kConst: {
      WDELTA_RETURN_IF_ERROR(check_payload(format.lane_bytes));
      if (size < payload.size()) {
        return absl::DataLossError(absl::StrCat("const: expected a whole lane of ",
                                                format.lane_bytes, " bytes, found ", size));
      }
      Repeat(payload, destination, size);
      return absl::OkStatus();
    }
    case ChunkMode::kPlanes:
      return state_->DecodePlanes(format, payload, nullptr, destination, size);
    case ChunkMode::kDeltaPlanes:
      return state_->DecodePlanes(format, payload, &extended, destination, size);
  }
  return absl::DataLossError(
      absl::StrCat("chunk mode: expected 1 to 5, found ", static_cast<int>(mode)));
}

}  // namespace wdelta
