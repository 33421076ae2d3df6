// Weights and deltas for the tests of lossy modes.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "storage/codec/kernels/real_lanes.h"
#include "storage/tensor/dtype.h"

namespace wdelta {

inline constexpr DType kLossyDTypes[] = {DType::kF16, DType::kBF16, DType::kF32, DType::kF64};

inline std::string LanesOf(DType dtype, const std::vector<double>& values) {
  return kernels::WithRealLanes(dtype, [&](auto lanes) {
    using Lanes = decltype(lanes);
    std::string bytes(values.size() * sizeof(typename Lanes::Lane), '\0');
    for (size_t i = 0; i < values.size(); ++i) {
      kernels::StoreLane<Lanes>(Lanes::FromReal(static_cast<typename Lanes::Real>(values[i])),
                                reinterpret_cast<uint8_t*>(bytes.data()), i);
    }
    return bytes;
  });
}

inline std::vector<double> ValuesOf(DType dtype, const std::string& bytes) {
  return kernels::WithRealLanes(dtype, [&](auto lanes) {
    using Lanes = decltype(lanes);
    std::vector<double> values(bytes.size() / sizeof(typename Lanes::Lane));
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = kernels::LoadReal<Lanes>(reinterpret_cast<const uint8_t*>(bytes.data()), i);
    }
    return values;
  });
}

inline std::vector<double> Gaussian(std::mt19937_64& random, size_t count, double sigma) {
  std::normal_distribution<double> normal(0, sigma);
  std::vector<double> values(count);
  for (double& value : values) value = normal(random);
  return values;
}

struct Pair {
  std::string parent, target;
};

// Weights of scale 0.02 and deltas of scale 0.02 * `relative`, of which a share is zero.
inline Pair MakePair(std::mt19937_64& random, DType dtype, size_t count, double relative,
                     double unchanged = 0) {
  std::vector<double> weights = Gaussian(random, count, 0.02);
  const std::string parent = LanesOf(dtype, weights);
  weights = ValuesOf(dtype, parent);
  const std::vector<double> deltas = Gaussian(random, count, 0.02 * relative);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (size_t i = 0; i < count; ++i) {
    if (uniform(random) >= unchanged) weights[i] += deltas[i];
  }
  return {parent, LanesOf(dtype, weights)};
}

}  // namespace wdelta
