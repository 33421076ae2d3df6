#include "storage/codec/lossy_quantiser.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "storage/codec/kernels/lossy_sum_kernels.h"
#include "storage/codec/kernels/real_lanes.h"

namespace wdelta {
namespace {

using kernels::kEscapedSymbol;
using kernels::kPoints;
using kernels::kReductionScale;
using kernels::kTrellisLanes;

// Squares of the step that a bit is worth. Theory says 2 ln(2) times the error at high
// rates, 0.35; with modelled rates less gave fewer bits at equal error, on Gaussian and
// Laplacian deltas and on those of fine-tunes.
constexpr double kBitWorth = 0.15;
// Weights that are looked at when points are fitted, in groups of lanes.
constexpr size_t kFitWeights = 8192;
// Weights that the gain is taken from, in blocks of groups of lanes.
constexpr size_t kGainWeights = 65536;
// A gain pays above a signal to noise ratio of 5 dB.
constexpr double kLeastGainRatio = 3.16;
constexpr double kLeastGainChange = 5e-4;

// Rates of indices for a mixture of a Laplacian and a Gaussian with the mean and mean
// square of the deltas that are not zero: their ratio tells which it is more like.
kernels::RateModel ModelRates(const DeltaMoments& moments, double step) {
  constexpr double kLaplacianRatio = 0.5;
  constexpr double kGaussianRatio = 0.6366;
  kernels::RateModel rate;
  if (moments.changed == 0 || moments.squared_delta <= 0) return rate;
  const double changed = static_cast<double>(moments.changed);
  const double variance = moments.squared_delta / changed;
  const double mean = moments.absolute_delta / changed;
  const double gaussian = std::clamp(
      (mean * mean / variance - kLaplacianRatio) / (kGaussianRatio - kLaplacianRatio), 0.0, 1.0);
  const double spacing = 2 * step;  // of the points that neighbour indices stand for
  rate.linear = (1 - gaussian) * spacing / mean / std::log(2.0);
  rate.quadratic = gaussian * spacing * spacing / (2 * variance) / std::log(2.0);
  // Unchanged weights make index 0 cheaper than the mixture says.
  const double at_zero = gaussian * 0.399 / std::sqrt(variance) + (1 - gaussian) * 0.5 / mean;
  const double zeros = std::min(1.0, at_zero * spacing) * changed;
  rate.nonzero = std::log2(1 + static_cast<double>(moments.weights - moments.changed) / zeros);
  rate.linear *= kBitWorth;
  rate.quadratic *= kBitWorth;
  rate.nonzero *= kBitWorth;
  return rate;
}

int16_t ToReduction(double steps) {
  constexpr double kMost = 1.9;
  return static_cast<int16_t>(std::lround(std::clamp(steps, -kMost, kMost) * kReductionScale));
}

// Calls `body` with the place of every escaped symbol of [first, end), in order.
template <typename Body>
void ForEachEscape(const uint8_t* symbols, size_t first, size_t end, Body body) {
  while (first < end) {
    const void* const found = std::memchr(symbols + first, kEscapedSymbol, end - first);
    if (found == nullptr) return;
    first = static_cast<size_t>(static_cast<const uint8_t*>(found) - symbols);
    body(first++);
  }
}

}  // namespace

// The mean of the deltas of each magnitude.
template <class Lanes>
void LossyQuantiser::FitPoints(absl::string_view target, absl::string_view parent) {
  const auto* const t = reinterpret_cast<const uint8_t*>(target.data());
  const auto* const p = reinterpret_cast<const uint8_t*>(parent.data());
  const size_t count = target.size() / sizeof(typename Lanes::Lane);
  std::array<double, 256> along{};  // sums of deltas in steps, by magnitude
  std::array<double, 256> weights{};
  const size_t stride = std::max<size_t>(1, count / kFitWeights);
  for (size_t first = 0; first < count; first += stride * kTrellisLanes) {
    const size_t end = std::min(count, first + kTrellisLanes);
    for (size_t i = first; i < end; ++i) {
      if (symbols_[i] == kEscapedSymbol) continue;
      const double delta = (static_cast<double>(kernels::LoadReal<Lanes>(t, i)) -
                            static_cast<double>(kernels::LoadReal<Lanes>(p, i))) /
                           reconstruction_.step;
      along[magnitudes_[i]] += (symbols_[i] & 1) != 0 ? -delta : delta;
      weights[magnitudes_[i]] += 1;
    }
  }
  for (int j = 1; j <= kPoints; ++j) {
    double lacking = 0, points = 0;
    for (int m = j; m < (j < kPoints ? j + 1 : 256); ++m) {
      lacking += m * weights[m] - along[m];
      points += weights[m];
    }
    if (points > 0) reconstruction_.reduction[j] = ToReduction(lacking / points);
  }
}

// What the error of blocks all over the chunk asks for.
double LossyQuantiser::GainOfSample(DType dtype, absl::string_view target,
                                    absl::string_view parent) {
  constexpr size_t kBlocks = 8;
  const auto lane_bytes = static_cast<size_t>(LaneBytes(dtype));
  const auto* const t = reinterpret_cast<const uint8_t*>(target.data());
  const auto* const p = reinterpret_cast<const uint8_t*>(parent.data());
  auto* const output = reinterpret_cast<uint8_t*>(reconstructed_.data());
  const size_t count = target.size() / lane_bytes;
  const size_t groups = (count + kTrellisLanes - 1) / kTrellisLanes;
  const size_t block = kGainWeights / kBlocks;
  LossyOutcome sum;
  for (size_t i = 0; i < kBlocks; ++i) {
    const size_t first = groups * i / kBlocks * kTrellisLanes;
    const size_t end = std::min({count, first + block, groups * (i + 1) / kBlocks * kTrellisLanes});
    if (first >= end) continue;
    const size_t offset = first * lane_bytes;
    kernels::Reconstruct(dtype, reconstruction_, symbols_.data() + first,
                         magnitudes_.data() + first, p + offset, end - first, output + offset);
    ForEachEscape(symbols_.data(), first, end, [&](size_t w) {
      std::memcpy(output + w * lane_bytes, t + w * lane_bytes, lane_bytes);
    });
    const LossyOutcome part =
        kernels::SumOutcome(dtype, t + offset, p + offset, output + offset, end - first);
    sum.squared_error += part.squared_error;
    sum.squared_delta += part.squared_delta;
    sum.delta_dot_output += part.delta_dot_output;
  }
  const bool is_weak = sum.squared_error * kLeastGainRatio > sum.squared_delta;
  if (is_weak || sum.delta_dot_output <= 0) return 1;
  return sum.squared_delta / sum.delta_dot_output;
}

// The gain makes the error orthogonal to the deltas: means fall short of them, and what
// is lost in one direction harms a model far more than as much noise does.
void LossyQuantiser::Reconstruct(DType dtype, absl::string_view target, absl::string_view parent) {
  const double gain = GainOfSample(dtype, target, parent);
  if (std::abs(gain - 1) > kLeastGainChange) {
    const double step = reconstruction_.step * gain;
    reconstruction_.step =
        dtype == DType::kF64 ? step : static_cast<double>(static_cast<float>(step));
  }
  const auto lane_bytes = static_cast<size_t>(LaneBytes(dtype));
  kernels::Reconstruct(dtype, reconstruction_, symbols_.data(), magnitudes_.data(),
                       reinterpret_cast<const uint8_t*>(parent.data()), target.size() / lane_bytes,
                       reinterpret_cast<uint8_t*>(reconstructed_.data()));
  GatherEscapes(lane_bytes, target);
}

void LossyQuantiser::GatherEscapes(size_t lane_bytes, absl::string_view target) {
  escapes_.clear();
  ForEachEscape(symbols_.data(), 0, target.size() / lane_bytes, [&](size_t w) {
    escapes_.append(target.data() + w * lane_bytes, lane_bytes);
    std::memcpy(reconstructed_.data() + w * lane_bytes, target.data() + w * lane_bytes, lane_bytes);
  });
}

void LossyQuantiser::Quantise(DType dtype, absl::string_view target, absl::string_view parent,
                              const DeltaMoments& moments, const LossyParams& params) {
  const auto* const t = reinterpret_cast<const uint8_t*>(target.data());
  const auto* const p = reinterpret_cast<const uint8_t*>(parent.data());
  const size_t count = target.size() / static_cast<size_t>(LaneBytes(dtype));
  const size_t padded = (count + kTrellisLanes - 1) / kTrellisLanes * kTrellisLanes;
  symbols_.resize(padded);
  magnitudes_.resize(padded);
  reconstructed_.resize(target.size());

  reconstruction_ = {};
  reconstruction_.step =
      dtype == DType::kF64 ? params.step : static_cast<double>(static_cast<float>(params.step));
  const kernels::RateModel rate = ModelRates(moments, reconstruction_.step);
  const int searches = params.effort == Effort::kMax ? 2 : 1;
  for (int search = 0; search < searches; ++search) {
    kernels::QuantiseTrellis(dtype, reconstruction_, rate, t, p, count, scratch_, symbols_.data());
    kernels::Magnitudes(symbols_.data(), count, magnitudes_.data());
    kernels::WithRealLanes(dtype, [&](auto lanes) { FitPoints<decltype(lanes)>(target, parent); });
  }
  Reconstruct(dtype, target, parent);
}

}  // namespace wdelta
