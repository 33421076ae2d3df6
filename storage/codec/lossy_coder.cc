#include "storage/codec/lossy_coder.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "storage/codec/lossy_moments.h"
#include "storage/codec/lossy_onebit.h"
#include "storage/codec/lossy_quantised.h"
#include "storage/codec/lossy_sparse.h"

namespace wdelta {
namespace {

absl::Status CheckParams(const LossyParams& params) {
  const auto check = [](absl::string_view name, double value, bool ok) -> absl::Status {
    if (ok && std::isfinite(value)) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("lossy ", name, ": out of range: ", value));
  };
  WDELTA_RETURN_IF_ERROR(check("gain", params.gain, params.gain > 0));
  switch (params.strategy) {
    case Strategy::kLossless:
      return absl::OkStatus();
    case Strategy::kNearLossless:
      return check("step", params.step, params.step > 0);
    case Strategy::kSparse:
      return check("threshold", params.threshold, params.threshold >= 0);
    case Strategy::kOneBit:
      return absl::OkStatus();
    case Strategy::kAuto:
      break;
  }
  return absl::InvalidArgumentError("lossy strategy: expected a planned one, found auto");
}

}  // namespace

struct LossyCoder::State {
  QuantisedCoder quantised;
  OneBitCoder one_bit;
};

LossyCoder::LossyCoder() : state_(std::make_unique<State>()) {}
LossyCoder::~LossyCoder() = default;
LossyCoder::LossyCoder(LossyCoder&&) noexcept = default;
LossyCoder& LossyCoder::operator=(LossyCoder&&) noexcept = default;

absl::Status LossyCoder::Encode(DType dtype, const ChunkGeometry& geometry,
                                absl::string_view target, absl::string_view parent,
                                const LossyParams& params, LossyChunk& chunk) {
  WDELTA_RETURN_IF_ERROR(CheckLossyInput(dtype, target, parent));
  WDELTA_RETURN_IF_ERROR(CheckParams(params));
  const bool whole_lanes = target.size() % static_cast<size_t>(LaneBytes(dtype)) == 0;
  bool encoded = false;
  std::string& payload = chunk.chunk.payload;
  if (params.strategy != Strategy::kLossless && whole_lanes && target != parent) {
    if (params.strategy == Strategy::kNearLossless) {
      chunk.chunk.mode = ChunkMode::kQuantised;
      encoded = state_->quantised.Encode(dtype, geometry, target, parent, params, payload,
                                         chunk.reconstructed);
    } else if (params.strategy == Strategy::kSparse) {
      encoded = KeepLargest(dtype, target, parent, params.threshold, chunk.reconstructed);
    } else {
      chunk.chunk.mode = ChunkMode::kOneBit;
      encoded = state_->one_bit.Encode(dtype, geometry, target, parent, params, payload,
                                       chunk.reconstructed);
    }
  }
  if (encoded && payload.size() < target.size()) {
    chunk.outcome = MeasureOutcome(dtype, target, parent, chunk.reconstructed);
    chunk.outcome.bits = 8.0 * static_cast<double>(payload.size());
    // A sum may have left the dtype's range.
    if (std::isfinite(chunk.outcome.squared_error)) return absl::OkStatus();
  }
  payload.clear();
  chunk.reconstructed.assign(target.data(), target.size());
  chunk.outcome = MeasureOutcome(dtype, target, parent, target);
  return absl::OkStatus();
}

absl::Status LossyCoder::Decode(ChunkMode mode, int lane_bytes, absl::string_view payload,
                                absl::string_view parent, char* destination, size_t size) {
  if (mode == ChunkMode::kQuantised) {
    return state_->quantised.Decode(lane_bytes, payload, parent, destination, size);
  }
  return state_->one_bit.Decode(lane_bytes, payload, parent, destination, size);
}

absl::StatusOr<LossyOutcome> MeasureLossy(DType dtype, absl::string_view target,
                                          absl::string_view parent, const LossyParams& params) {
  return MeasureLossy(dtype, ChunkGeometry{}, target, parent, params);
}

absl::StatusOr<LossyOutcome> MeasureLossy(DType dtype, const ChunkGeometry& geometry,
                                          absl::string_view target, absl::string_view parent,
                                          const LossyParams& params) {
  ChunkCodec codec;
  WDELTA_ASSIGN_OR_RETURN(const LossyChunk chunk,
                          codec.EncodeLossy(dtype, geometry, target, parent, params));
  return chunk.outcome;
}

}  // namespace wdelta
