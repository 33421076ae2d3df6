// Merges of whole tensors as their papers put them: slow and obvious, for tests.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "store/v1/records.pb.h"

namespace wdelta::testing {

using Vector = std::vector<double>;

inline Vector ReferenceDeltas(const Vector& source, const Vector& base) {
  Vector deltas;
  for (size_t i = 0; i < base.size(); ++i) {
    deltas.push_back(source[i] == base[i] ? 0 : source[i] - base[i]);
  }
  return deltas;
}

// All but the largest by magnitude become 0.
inline void ReferenceTrim(Vector& deltas, double density) {
  std::vector<float> sizes;
  for (const double delta : deltas) sizes.push_back(static_cast<float>(std::fabs(delta)));
  std::sort(sizes.begin(), sizes.end(), std::greater<>());
  if (sizes.empty()) return;
  const double share = std::round(density * static_cast<double>(sizes.size()));
  const float least = sizes[static_cast<size_t>(std::max(share, 1.0)) - 1];
  for (double& delta : deltas) {
    if (static_cast<float>(std::fabs(delta)) < least) delta = 0;
  }
}

// `models`: the base unless the method is LINEAR, then the sources.
inline Vector ReferenceMerge(const store::v1::MergeRecipe& recipe,
                             const std::vector<Vector>& models) {
  using store::v1::MergeRecipe;
  const auto weight = [&](size_t i) { return recipe.sources(static_cast<int>(i)).weight(); };
  Vector merged(models[0].size());
  if (recipe.method() == MergeRecipe::LINEAR) {
    double total = weight(0);
    for (size_t m = 1; m < models.size(); ++m) total += weight(m);
    for (size_t i = 0; i < merged.size(); ++i) {
      double sum = weight(0) / total * models[0][i];
      for (size_t m = 1; m < models.size(); ++m) sum += weight(m) / total * models[m][i];
      const bool is_equal = std::all_of(models.begin(), models.end(), [&](const Vector& model) {
        return model[i] == models[0][i];
      });
      merged[i] = is_equal ? models[0][i] : sum;
    }
    return merged;
  }
  const Vector& base = models[0];
  std::vector<Vector> deltas;
  for (size_t m = 1; m < models.size(); ++m) {
    deltas.push_back(ReferenceDeltas(models[m], base));
    if (recipe.method() == MergeRecipe::TIES) ReferenceTrim(deltas.back(), recipe.density());
  }
  for (size_t i = 0; i < merged.size(); ++i) {
    double sum = 0;
    for (size_t m = 0; m < deltas.size(); ++m) sum += weight(m) * deltas[m][i];
    if (recipe.method() == MergeRecipe::TIES && sum != 0) {
      const double elected = sum;
      double total = 0;
      sum = 0;
      for (size_t m = 0; m < deltas.size(); ++m) {
        if (deltas[m][i] * elected <= 0) continue;
        sum += weight(m) * deltas[m][i];
        total += weight(m);
      }
      sum /= total;
    }
    merged[i] = sum == 0 ? base[i] : base[i] + recipe.scale() * sum;
  }
  return merged;
}

}  // namespace wdelta::testing
