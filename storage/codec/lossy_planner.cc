#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/codec/lossy.h"

namespace wdelta {
namespace {

// Steps beyond the largest delta, in its multiples, leave nothing of any.
constexpr double kBeyondAll = 4;
// Squared error of the trellis in squares of its step, and what a rate has over
// log2(sigma / root of the error).
constexpr double kSquaredError = 0.25;
constexpr double kRateOverhead = 0.1;
// A plan is good when it lies within this part below its target; the next try aims
// at the middle.
constexpr double kTolerance = 0.005;
// Bits are met from either side; kept weights in steps of equal magnitudes only.
constexpr double kBitsTolerance = 0.005;
constexpr double kKeptTolerance = 0.002;
// A gain pays above a signal to noise ratio of 5 dB.
constexpr double kLeastGainRatio = 3.16;
constexpr double kLeastGainChange = 1e-3;

double Sigma(const DeltaMoments& moments) {
  return std::sqrt(moments.squared_delta / static_cast<double>(moments.weights));
}

bool IsQuantised(const TensorPolicy& policy) {
  return policy.strategy == Strategy::kNearLossless || policy.strategy == Strategy::kAuto;
}

// Near-lossless tensors that share a target. Scales multiply the root of sigma.
struct Group {
  std::vector<size_t> members;
  double relative_error = 0;  // or
  double bits_per_weight = 0;
  double scale = 0;
  double fine_scale = 0, fine_value = 0;      // largest known to meet the target
  double coarse_scale = 0, coarse_value = 0;  // smallest known not to; 0: none
  bool settled = false;
};

struct SparseTry {
  double threshold = 0;
  double fall = 0;  // log of changed weights over kept ones
};

}  // namespace

struct LossyPlanner::State {
  State(std::vector<LossyTensor> tensors_given, Effort effort_given);

  void PlanSparse(size_t tensor);
  void StartGroup(Group& group);
  void SetSteps(const Group& group);
  // True when params has changed.
  bool RefineSparse(size_t tensor, const LossyOutcome& outcome);
  bool RefineGain(size_t tensor, const LossyOutcome& outcome);
  bool DropToLossless(const Group& group, const std::vector<LossyOutcome>& outcomes);
  bool RefineGroup(Group& group, const std::vector<LossyOutcome>& outcomes);
  static bool NextScale(Group& group, double value);
  double Measured(const Group& group, const std::vector<LossyOutcome>& outcomes) const;

  std::vector<LossyTensor> tensors;
  Effort effort;
  std::vector<LossyParams> params;
  std::vector<Group> groups;
  std::vector<SparseTry> sparse_tries;  // the one before, by tensor
  int rounds = 0;
};

LossyPlanner::State::State(std::vector<LossyTensor> tensors_given, Effort effort_given)
    : tensors(std::move(tensors_given)),
      effort(effort_given),
      params(tensors.size()),
      sparse_tries(tensors.size()) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    const LossyTensor& tensor = tensors[i];
    params[i].effort = effort;
    const bool can_be_lossy = CanBeLossy(tensor.dtype) && tensor.moments.finite &&
                              tensor.moments.changed != 0 && tensor.moments.squared_delta > 0;
    if (!can_be_lossy || tensor.policy.strategy == Strategy::kLossless) continue;
    if (!IsQuantised(tensor.policy)) {
      params[i].strategy = tensor.policy.strategy;
      if (tensor.policy.strategy == Strategy::kSparse) PlanSparse(i);
      continue;
    }
    if (tensor.policy.relative_error <= 0 && tensor.policy.bits_per_weight <= 0) continue;
    params[i].strategy = Strategy::kNearLossless;
    const auto same_target = [&](const Group& group) {
      return group.relative_error == tensor.policy.relative_error &&
             group.bits_per_weight == tensor.policy.bits_per_weight;
    };
    auto group = std::find_if(groups.begin(), groups.end(), same_target);
    if (group == groups.end()) {
      group = groups.insert(group, Group{});
      group->relative_error = tensor.policy.relative_error;
      group->bits_per_weight = tensor.policy.bits_per_weight;
    }
    group->members.push_back(i);
  }
  for (Group& group : groups) StartGroup(group);
}

// As if deltas were Laplacian: a share exp(-x / mean) is larger than x.
void LossyPlanner::State::PlanSparse(size_t tensor) {
  const DeltaMoments& moments = tensors[tensor].moments;
  const double changed = static_cast<double>(moments.changed);
  const double kept = (1 - std::clamp(tensors[tensor].policy.sparsity, 0.0, 1.0)) *
                      static_cast<double>(moments.weights);
  if (kept >= changed) return;  // the threshold stays 0
  params[tensor].threshold =
      moments.absolute_delta / changed * std::log(changed / std::max(kept, 0.5));
}

void LossyPlanner::State::StartGroup(Group& group) {
  double weights = 0, energy = 0, weighted_sigma = 0, weighted_log = 0;
  for (const size_t i : group.members) {
    const DeltaMoments& moments = tensors[i].moments;
    const double n = static_cast<double>(moments.weights);
    weights += n;
    energy += moments.squared_delta;
    const double fineness = tensors[i].fineness;
    weighted_sigma += n * Sigma(moments) / (fineness * fineness);
    weighted_log += n * (std::log2(Sigma(moments)) / 2 + std::log2(fineness));
  }
  if (group.bits_per_weight > 0) {
    const double bits = group.bits_per_weight - kRateOverhead + std::log2(std::sqrt(kSquaredError));
    group.scale = std::exp2(weighted_log / weights - bits);
  } else {
    group.scale = group.relative_error * std::sqrt(energy / (kSquaredError * weighted_sigma));
  }
  group.settled = group.relative_error >= 1;  // the parent as it is will do
  SetSteps(group);
}

void LossyPlanner::State::SetSteps(const Group& group) {
  for (const size_t i : group.members) {
    if (params[i].strategy != Strategy::kNearLossless) continue;
    if (group.relative_error >= 1) {
      params[i].step = kBeyondAll * tensors[i].moments.max_absolute_delta;
      continue;
    }
    params[i].step = group.scale * std::sqrt(Sigma(tensors[i].moments)) / tensors[i].fineness;
  }
}

// The share of deltas above a threshold t falls as exp(-(a t + b t^2)), exactly so for
// Laplacian deltas and nearly for Gaussian ones: a and b come from the last two tries.
bool LossyPlanner::State::RefineSparse(size_t tensor, const LossyOutcome& outcome) {
  constexpr double kNone = 0.5;  // weights, in the place of 0
  const DeltaMoments& moments = tensors[tensor].moments;
  double& threshold = params[tensor].threshold;
  const double kept = static_cast<double>(outcome.altered);
  const double wanted =
      (1 - tensors[tensor].policy.sparsity) * static_cast<double>(moments.weights);
  if (threshold <= 0 || std::abs(kept - wanted) <= kKeptTolerance * wanted + 1) return false;
  const auto fall = [&](double weights) {
    return std::log(static_cast<double>(moments.changed) / std::max(weights, kNone));
  };
  const SparseTry last = sparse_tries[tensor];
  const SparseTry current{threshold, fall(kept)};
  sparse_tries[tensor] = current;
  const double slope = current.fall / threshold;
  double b = 0;
  if (last.threshold > 0 && last.threshold != threshold) {
    b = (slope - last.fall / last.threshold) / (threshold - last.threshold);
  }
  const double a = slope - b * threshold;
  const double root = a * a + 4 * b * fall(wanted);
  double next = fall(wanted) / std::max(slope, 1e-300);
  if (b != 0 && root > 0) next = (std::sqrt(root) - a) / (2 * b);
  if (!(next > 0)) next = threshold / 2;
  if (next == threshold) return false;
  threshold = std::min(next, moments.max_absolute_delta);
  return true;
}

bool LossyPlanner::State::RefineGain(size_t tensor, const LossyOutcome& outcome) {
  if (outcome.squared_error * kLeastGainRatio > outcome.squared_delta ||
      outcome.delta_dot_output <= 0) {
    return false;
  }
  const double gain = outcome.squared_delta / outcome.delta_dot_output;
  if (std::abs(gain - 1) < kLeastGainChange) return false;
  params[tensor].gain *= gain;
  return true;
}

// Lossless where it takes no more.
bool LossyPlanner::State::DropToLossless(const Group& group,
                                         const std::vector<LossyOutcome>& outcomes) {
  bool changed = false;
  for (const size_t i : group.members) {
    const double lossless_bits = tensors[i].lossless_bits;
    if (params[i].strategy == Strategy::kLossless || lossless_bits <= 0) continue;
    if (outcomes[i].bits < lossless_bits) continue;
    params[i] = LossyParams{};
    params[i].effort = effort;
    changed = true;
  }
  return changed;
}

// Relative error or bits of the group, those of lossless tensors included.
double LossyPlanner::State::Measured(const Group& group,
                                     const std::vector<LossyOutcome>& outcomes) const {
  double weights = 0, bits = 0, squared_error = 0, squared_delta = 0;
  for (const size_t i : group.members) {
    const bool lossless = params[i].strategy == Strategy::kLossless;
    weights += static_cast<double>(tensors[i].moments.weights);
    squared_delta += tensors[i].moments.squared_delta;
    bits += lossless ? tensors[i].lossless_bits : outcomes[i].bits;
    squared_error += lossless ? 0 : outcomes[i].squared_error;
  }
  return group.bits_per_weight > 0 ? bits / weights : std::sqrt(squared_error / squared_delta);
}

// Takes what group.scale has measured. False: it is the one to keep.
bool LossyPlanner::State::NextScale(Group& group, double value) {
  const bool by_bits = group.bits_per_weight > 0;
  const double target = by_bits ? group.bits_per_weight : group.relative_error;
  const bool meets = by_bits ? value >= target : value <= target;
  const double aim = by_bits ? target : target * (1 - kTolerance / 2);
  if (by_bits ? std::abs(value - target) <= kBitsTolerance * target
              : meets && value >= target * (1 - kTolerance)) {
    group.settled = true;
    return false;
  }
  (meets ? group.fine_scale : group.coarse_scale) = group.scale;
  (meets ? group.fine_value : group.coarse_value) = value;
  // log2(error) grows by 1 an octave of the scale and bits fall by 1; known ends of an
  // interval tell better.
  const auto height = [&](double v) { return by_bits ? -v : std::log2(std::max(v, 1e-12)); };
  double slope = 1;
  if (group.fine_scale > 0 && group.coarse_scale > group.fine_scale) {
    const double octaves = std::log2(group.coarse_scale / group.fine_scale);
    slope = std::max((height(group.coarse_value) - height(group.fine_value)) / octaves, 0.05);
  }
  double next = group.scale * std::exp2((height(aim) - height(value)) / slope);
  if (group.fine_scale > 0 && group.coarse_scale > group.fine_scale) {
    next = std::clamp(next, group.fine_scale, group.coarse_scale);
  }
  if (next == group.scale) {
    group.settled = true;
    return false;
  }
  group.scale = next;
  return true;
}

bool LossyPlanner::State::RefineGroup(Group& group, const std::vector<LossyOutcome>& outcomes) {
  if (group.settled) return false;
  const bool last = rounds >= kMaxPlanRounds;
  const bool dropped = DropToLossless(group, outcomes);
  const bool any_left = std::any_of(group.members.begin(), group.members.end(), [&](size_t i) {
    return params[i].strategy != Strategy::kLossless;
  });
  if (!any_left) {
    group.settled = true;
    return false;
  }
  if (dropped) group.fine_scale = group.coarse_scale = 0;
  const double value = Measured(group, outcomes);
  if (!NextScale(group, value)) return false;
  if (last) {
    // The best of what was measured, or nothing lossy at all.
    if (group.fine_scale > 0) {
      group.scale = group.fine_scale;
    } else {
      for (const size_t i : group.members) params[i].strategy = Strategy::kLossless;
    }
    group.settled = true;
  }
  SetSteps(group);
  return !last;
}

LossyPlanner::LossyPlanner(std::vector<LossyTensor> tensors, Effort effort)
    : state_(std::make_unique<State>(std::move(tensors), effort)) {}
LossyPlanner::~LossyPlanner() = default;
LossyPlanner::LossyPlanner(LossyPlanner&&) noexcept = default;
LossyPlanner& LossyPlanner::operator=(LossyPlanner&&) noexcept = default;

const std::vector<LossyParams>& LossyPlanner::params() const { return state_->params; }

absl::StatusOr<bool> LossyPlanner::Refine(const std::vector<LossyOutcome>& outcomes) {
  State& s = *state_;
  if (outcomes.size() != s.tensors.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("outcomes: expected ", s.tensors.size(), ", found ", outcomes.size()));
  }
  ++s.rounds;
  const bool last = s.rounds >= kMaxPlanRounds;
  bool changed = false;
  for (size_t i = 0; i < s.tensors.size() && !last; ++i) {
    if (s.params[i].strategy == Strategy::kSparse) changed |= s.RefineSparse(i, outcomes[i]);
    if (s.params[i].strategy == Strategy::kOneBit && s.rounds == 1) {
      changed |= s.RefineGain(i, outcomes[i]);
    }
  }
  for (Group& group : s.groups) changed |= s.RefineGroup(group, outcomes);
  return changed;
}

}  // namespace wdelta
