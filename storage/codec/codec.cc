#include "storage/codec/codec.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "storage/codec/class_coder.h"
#include "storage/codec/class_plan.h"
#include "storage/codec/lossy_coder.h"
#include "storage/codec/plane_modes.h"
#include "storage/codec/scale_plan.h"
#include "storage/codec/sparse_coder.h"

namespace wdelta {
namespace {

// Chunks with a smaller share of changed lanes than this may be sparse.
constexpr size_t kSparseDivisor = 512;
// What the class modes take beside their symbols, about.
constexpr size_t kClassOverheadBytes = 200;
// Direct coding is not tried when it is estimated at more than this part of the delta.
constexpr double kClearlyWorse = 1.15;
// Lanes that look this repetitive may have patterns that only zstd sees.
constexpr double kRepetitive = 0.3;
// Scaled-delta is taken at this part of the bytes of other modes, or less.
constexpr double kWorthwhileScaled = 0.997;

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

constexpr absl::string_view kUnknownMode = "unknown";

absl::StatusOr<ChunkMode> ChunkModeFromByte(uint8_t byte) {
  const auto mode = static_cast<ChunkMode>(byte);
  if (ChunkModeName(mode) != kUnknownMode) return mode;
  return absl::DataLossError(absl::StrCat("chunk mode: none of this version, found ", byte));
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
    case ChunkMode::kContextDelta:
      return "context-delta";
    case ChunkMode::kDirect:
      return "direct";
    case ChunkMode::kSparse:
      return "sparse";
    case ChunkMode::kScaledDelta:
      return "scaled-delta";
    case ChunkMode::kQuantised:
      return "quantised";
    case ChunkMode::kOneBit:
      return "one-bit";
  }
  return kUnknownMode;
}

bool NeedsParent(ChunkMode mode) {
  return mode == ChunkMode::kSame || mode == ChunkMode::kDeltaPlanes ||
         mode == ChunkMode::kContextDelta || mode == ChunkMode::kSparse ||
         mode == ChunkMode::kScaledDelta || mode == ChunkMode::kQuantised ||
         mode == ChunkMode::kOneBit;
}

LaneFormat LaneFormatOf(DType dtype) {
  return LaneFormat{.lane_bytes = LaneBytes(dtype),
                    .sign_magnitude = IsSignMagnitude(dtype),
                    .mantissa_bits = MantissaBits(dtype)};
}

struct ChunkCodec::State {
  PlaneModes planes;
  ClassCoder classes;
  LossyCoder lossy;
  std::string extended_parent;  // a short parent, made as long as the target
  std::string payload_buffer;

  // The parent followed by zero bytes up to `size`; valid until the next call.
  absl::string_view Extend(absl::string_view parent, size_t size) {
    if (parent.size() == size) return parent;
    extended_parent.assign(parent.data(), parent.size());
    extended_parent.resize(size, '\0');
    return extended_parent;
  }

  // The smallest of the modes that look worth trying; kRaw without a payload when none
  // gains. `parent` is null when there is none.
  absl::StatusOr<EncodedChunk> EncodeLanes(LaneFormat format, const uint8_t* target,
                                           const uint8_t* parent, size_t lanes, Effort effort,
                                           const ChunkGeometry& geometry) {
    EncodedChunk best{ChunkMode::kRaw, ""};
    size_t best_bytes = lanes * format.lane_bytes;
    const auto consider = [&](ChunkMode mode, std::string payload) {
      if (payload.size() >= best_bytes) return;
      best_bytes = payload.size();
      best = EncodedChunk{mode, std::move(payload)};
    };
    // A little is not worth the slower decoding.
    const auto consider_scaled = [&](std::string payload) {
      const double bytes = static_cast<double>(payload.size());
      if (bytes > kWorthwhileScaled * static_cast<double>(best_bytes)) return;
      consider(ChunkMode::kScaledDelta, std::move(payload));
    };
    const double raw_bits = 8.0 * static_cast<double>(best_bytes);
    const ClassPlan direct = PlanDirect(format, target, lanes);
    // Estimates say little where repetitions count.
    const bool try_all = effort == Effort::kMax || !format.sign_magnitude;
    bool try_direct = true;
    double lowest_bits = direct.bits;
    if (parent != nullptr) {
      const ClassPlan delta = PlanDelta(format, target, parent, lanes);
      lowest_bits = std::min(lowest_bits, delta.bits);
      if (ChangedAtMost(lanes / kSparseDivisor, format, target, parent, lanes)) {
        consider(ChunkMode::kSparse, EncodeSparse(format, target, parent, lanes));
      }
      if (delta.bits / 8 + kClassOverheadBytes < static_cast<double>(best_bytes) || try_all) {
        consider(ChunkMode::kContextDelta, classes.Encode(format, delta, target, parent, lanes));
      }
      if (effort == Effort::kMax) {
        const std::optional<ClassPlan> scaled =
            PlanScaledDelta(format, geometry, delta, target, parent, lanes);
        if (scaled.has_value())
          consider_scaled(classes.Encode(format, *scaled, target, parent, lanes));
      }
      try_direct = direct.bits < kClearlyWorse * delta.bits;
    }
    if (try_direct || try_all) {
      consider(ChunkMode::kDirect, classes.Encode(format, direct, target, nullptr, lanes));
    }
    if (try_all || lowest_bits < kRepetitive * raw_bits) {
      if (best.mode == ChunkMode::kSparse && effort == Effort::kFast) return best;
      if (parent != nullptr && !format.sign_magnitude) {
        WDELTA_ASSIGN_OR_RETURN(std::string delta, planes.Encode(format, target, parent, lanes));
        consider(ChunkMode::kDeltaPlanes, std::move(delta));
      }
      if (try_all || direct.bits < kRepetitive * raw_bits) {
        WDELTA_ASSIGN_OR_RETURN(std::string alone, planes.Encode(format, target, nullptr, lanes));
        consider(ChunkMode::kPlanes, std::move(alone));
      }
    }
    return best;
  }

  absl::Status DecodeLanes(LaneFormat format, ChunkMode mode, absl::string_view payload,
                           const uint8_t* parent, size_t lanes, uint8_t* target) {
    switch (mode) {
      case ChunkMode::kPlanes:
        return planes.Decode(format, payload, nullptr, lanes, target);
      case ChunkMode::kDeltaPlanes:
        return planes.Decode(format, payload, parent, lanes, target);
      case ChunkMode::kContextDelta:
      case ChunkMode::kDirect:
      case ChunkMode::kScaledDelta:
        return classes.Decode(format, mode, payload, parent, lanes, target);
      case ChunkMode::kSparse:
        return DecodeSparse(format, payload, parent, lanes, target);
      default:
        return absl::InternalError("not a mode of whole lanes");
    }
  }
};

ChunkCodec::ChunkCodec() : state_(std::make_unique<State>()) {}
ChunkCodec::~ChunkCodec() = default;
ChunkCodec::ChunkCodec(ChunkCodec&&) noexcept = default;
ChunkCodec& ChunkCodec::operator=(ChunkCodec&&) noexcept = default;

std::string& ChunkCodec::payload_buffer() { return state_->payload_buffer; }

absl::StatusOr<EncodedChunk> ChunkCodec::Encode(LaneFormat format, absl::string_view target,
                                                std::optional<absl::string_view> parent,
                                                Effort effort, const ChunkGeometry& geometry) {
  WDELTA_RETURN_IF_ERROR(CheckFormat(format));
  WDELTA_RETURN_IF_ERROR(CheckParent(parent, target.size()));
  if (target.empty()) return EncodedChunk{ChunkMode::kRaw, ""};

  std::optional<absl::string_view> extended;
  if (parent.has_value()) extended = state_->Extend(*parent, target.size());
  if (extended.has_value() && *extended == target) return EncodedChunk{ChunkMode::kSame, ""};
  if (IsConst(format, target)) {
    return EncodedChunk{ChunkMode::kConst, std::string(target.substr(0, format.lane_bytes))};
  }
  const size_t lanes = target.size() / format.lane_bytes;
  if (lanes == 0) return EncodedChunk{ChunkMode::kRaw, std::string(target)};
  // An empty parent is all zeros: its difference tells no more than the lanes.
  const bool has_parent = parent.has_value() && !parent->empty();
  WDELTA_ASSIGN_OR_RETURN(
      EncodedChunk chunk,
      state_->EncodeLanes(format, Bytes(target), has_parent ? Bytes(*extended) : nullptr, lanes,
                          effort, geometry));
  if (chunk.mode == ChunkMode::kRaw) return EncodedChunk{ChunkMode::kRaw, std::string(target)};
  absl::StrAppend(&chunk.payload, target.substr(lanes * format.lane_bytes));
  return chunk;
}

absl::StatusOr<LossyChunk> ChunkCodec::EncodeLossy(DType dtype, const ChunkGeometry& geometry,
                                                   absl::string_view target,
                                                   absl::string_view parent,
                                                   const LossyParams& params) {
  LossyChunk chunk;
  WDELTA_RETURN_IF_ERROR(EncodeLossy(dtype, geometry, target, parent, params, chunk));
  return chunk;
}

absl::Status ChunkCodec::EncodeLossy(DType dtype, const ChunkGeometry& geometry,
                                     absl::string_view target, absl::string_view parent,
                                     const LossyParams& params, LossyChunk& chunk) {
  chunk.chunk.payload.clear();
  WDELTA_RETURN_IF_ERROR(state_->lossy.Encode(dtype, geometry, target, parent, params, chunk));
  if (!chunk.chunk.payload.empty()) return absl::OkStatus();
  WDELTA_ASSIGN_OR_RETURN(chunk.chunk, Encode(LaneFormatOf(dtype), chunk.reconstructed, parent,
                                              params.effort, geometry));
  chunk.outcome.bits = 8.0 * static_cast<double>(chunk.chunk.payload.size());
  return absl::OkStatus();
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
    case ChunkMode::kQuantised:
    case ChunkMode::kOneBit:
      return state_->lossy.Decode(mode, format.lane_bytes, payload, extended, destination, size);
    default:
      break;
  }
  const size_t lanes = size / format.lane_bytes;
  const size_t tail_bytes = size % format.lane_bytes;
  if (lanes == 0 || payload.size() < tail_bytes) {
    return absl::DataLossError(absl::StrCat(
        "payload of mode ", ChunkModeName(mode), ": expected a whole lane and a tail of ",
        tail_bytes, " bytes, found ", lanes, " lanes and ", payload.size(), " bytes"));
  }
  const absl::string_view tail = payload.substr(payload.size() - tail_bytes);
  payload.remove_suffix(tail_bytes);
  WDELTA_RETURN_IF_ERROR(state_->DecodeLanes(format, mode, payload, Bytes(extended), lanes,
                                             reinterpret_cast<uint8_t*>(destination)));
  if (tail_bytes != 0) std::memcpy(destination + size - tail_bytes, tail.data(), tail_bytes);
  return absl::OkStatus();
}

}  // namespace wdelta
