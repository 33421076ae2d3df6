#include "storage/engine/merge/merge_math.h"

#include <bit>
#include <cmath>
#include <vector>

namespace wdelta {
namespace {

using store::v1::MergeRecipe;

std::vector<double> WeightsOf(const MergeRecipe& recipe) {
  std::vector<double> weights;
  for (const MergeRecipe::Source& source : recipe.sources()) weights.push_back(source.weight());
  return weights;
}

void MergeLinear(const MergeRecipe& recipe, absl::Span<const Numbers> models,
                 absl::Span<double> merged) {
  std::vector<Numbers> sources;
  std::vector<double> shares;
  double total_weight = 0;
  for (size_t source = 0; source < models.size(); ++source) {
    const double weight = recipe.sources(static_cast<int>(source)).weight();
    if (weight == 0) continue;
    total_weight += weight;
    sources.push_back(models[source]);
    shares.push_back(weight);
  }
  for (double& share : shares) share /= total_weight;
  for (size_t i = 0; i < merged.size(); ++i) {
    const double first = sources[0][i];
    // The sum begins with a term, not with 0: -0 stays what it is.
    double sum = shares[0] * first;
    bool is_equal = true;
    for (size_t source = 1; source < sources.size(); ++source) {
      is_equal = is_equal && sources[source][i] == first;
      sum += shares[source] * sources[source][i];
    }
    merged[i] = is_equal ? first : sum;
  }
}

void MergeTaskArithmetic(const MergeRecipe& recipe, absl::Span<const Numbers> models,
                         absl::Span<double> merged) {
  const std::vector<double> weights = WeightsOf(recipe);
  const double scale = recipe.scale();
  const Numbers base = models[0];
  for (size_t i = 0; i < merged.size(); ++i) {
    double change = 0;
    for (size_t source = 1; source < models.size(); ++source) {
      const double weight = weights[source - 1];
      if (weight != 0) change += weight * DeltaOf(models[source][i], base[i]);
    }
    change *= scale;
    merged[i] = change == 0 ? base[i] : base[i] + change;
  }
}

// Deltas of one sign.
struct SideSum {
  double sum = 0;
  double weight = 0;
  void Add(double delta, double delta_weight) {
    sum += delta_weight * delta;
    weight += delta_weight;
  }
};

void MergeTies(const MergeRecipe& recipe, absl::Span<const Numbers> models,
               absl::Span<const uint32_t> least_keys, absl::Span<double> merged) {
  const std::vector<double> weights = WeightsOf(recipe);
  const double scale = recipe.scale();
  const Numbers base = models[0];
  for (size_t i = 0; i < merged.size(); ++i) {
    SideSum up;
    SideSum down;
    for (size_t source = 0; source < least_keys.size(); ++source) {
      const double delta = DeltaOf(models[source + 1][i], base[i]);
      if (delta == 0 || MagnitudeKey(delta) < least_keys[source]) continue;
      (delta < 0 ? down : up).Add(delta, weights[source]);  // NaN is in `up`
    }
    const double elected = up.sum + down.sum;
    if (elected == 0) {
      merged[i] = base[i];
    } else if (std::isnan(elected)) {
      merged[i] = elected;
    } else {
      const SideSum& side = elected > 0 ? up : down;
      const double change = scale * (side.sum / side.weight);
      merged[i] = change == 0 ? base[i] : base[i] + change;
    }
  }
}

}  // namespace

uint32_t MagnitudeKey(double number) {
  if (std::isnan(number)) return kMaxMagnitudeKey;
  return std::bit_cast<uint32_t>(static_cast<float>(std::fabs(number)));
}

double DeltaOf(double source, double base) { return source == base ? 0 : source - base; }

void MergeNumbers(const MergeRecipe& recipe, absl::Span<const Numbers> models,
                  absl::Span<const uint32_t> least_keys, absl::Span<double> merged) {
  switch (recipe.method()) {
    case MergeRecipe::LINEAR:
      return MergeLinear(recipe, models, merged);
    case MergeRecipe::TASK_ARITHMETIC:
      return MergeTaskArithmetic(recipe, models, merged);
    default:
      return MergeTies(recipe, models, least_keys, merged);
  }
}

}  // namespace wdelta
