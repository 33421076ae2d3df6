// Plans for several tensors together, measured as the engine does.
#include <gtest/gtest.h>

#include "storage/codec/codec.h"
#include "tests/codec/lossy_deltas.h"

namespace wdelta {
namespace {

struct Plan {
  std::vector<LossyParams> params;
  std::vector<LossyOutcome> outcomes;
  int rounds = 0;

  double RelativeError() const {
    LossyOutcome all;
    for (const LossyOutcome& outcome : outcomes) all.Add(outcome);
    return all.RelativeError();
  }
};

LossyTensor Describe(const Pair& pair, DType dtype, const TensorPolicy& policy) {
  return {dtype, policy, *MeasureDelta(dtype, pair.target, pair.parent), 0, 1};
}

// Refines to the end; outcomes are those of the final parameters.
Plan RunPlanner(const std::vector<Pair>& pairs, const std::vector<LossyTensor>& tensors) {
  LossyPlanner planner(tensors, Effort::kFast);
  Plan plan;
  const auto measure = [&] {
    plan.outcomes.clear();
    for (size_t i = 0; i < pairs.size(); ++i) {
      const auto outcome =
          MeasureLossy(tensors[i].dtype, pairs[i].target, pairs[i].parent, planner.params()[i]);
      EXPECT_TRUE(outcome.ok()) << outcome.status();
      plan.outcomes.push_back(*outcome);
    }
  };
  measure();
  ++plan.rounds;
  while (*planner.Refine(plan.outcomes)) {
    measure();
    ++plan.rounds;
  }
  plan.params = planner.params();
  measure();
  return plan;
}

std::vector<Pair> MakePairs(std::mt19937_64& random, DType dtype) {
  return {MakePair(random, dtype, 40'000, 0.02), MakePair(random, dtype, 30'000, 0.05),
          MakePair(random, dtype, 20'000, 0.2)};
}

TEST(LossyPlannerTest, MeetsTheRelativeErrorFromBelow) {
  std::mt19937_64 random(1);
  for (const DType dtype : kLossyDTypes) {
    const std::vector<Pair> pairs = MakePairs(random, dtype);
    for (const double target : {0.05, 0.1, 0.4}) {
      const TensorPolicy policy{.strategy = Strategy::kNearLossless, .relative_error = target};
      std::vector<LossyTensor> tensors;
      for (const Pair& pair : pairs) tensors.push_back(Describe(pair, dtype, policy));
      const Plan plan = RunPlanner(pairs, tensors);
      EXPECT_LE(plan.RelativeError(), target) << DTypeName(dtype);
      EXPECT_GE(plan.RelativeError(), 0.98 * target) << DTypeName(dtype);
      EXPECT_LE(plan.rounds, kMaxPlanRounds);
    }
  }
}

TEST(LossyPlannerTest, FromARelativeErrorOfOneOnTheParentWillDo) {
  std::mt19937_64 random(9);
  for (const DType dtype : kLossyDTypes) {
    const std::vector<Pair> pairs = MakePairs(random, dtype);
    for (const double target : {1.0, 1.7, 1e6}) {
      const TensorPolicy policy{.strategy = Strategy::kNearLossless, .relative_error = target};
      std::vector<LossyTensor> tensors;
      for (const Pair& pair : pairs) tensors.push_back(Describe(pair, dtype, policy));
      const Plan plan = RunPlanner(pairs, tensors);
      EXPECT_EQ(plan.rounds, 1);
      for (const LossyOutcome& outcome : plan.outcomes) {
        EXPECT_EQ(outcome.altered, 0u) << DTypeName(dtype);
        EXPECT_LT(outcome.bits, 0.05 * static_cast<double>(outcome.weights));
      }
      EXPECT_DOUBLE_EQ(plan.RelativeError(), 1);
    }
  }
}

TEST(LossyPlannerTest, MeetsTheBitsWithinAPercent) {
  std::mt19937_64 random(2);
  const std::vector<Pair> pairs = MakePairs(random, DType::kBF16);
  for (const double target : {1.0, 2.0, 3.0, 4.0}) {
    const TensorPolicy policy{.strategy = Strategy::kNearLossless, .bits_per_weight = target};
    std::vector<LossyTensor> tensors;
    for (const Pair& pair : pairs) tensors.push_back(Describe(pair, DType::kBF16, policy));
    const Plan plan = RunPlanner(pairs, tensors);
    LossyOutcome all;
    for (const LossyOutcome& outcome : plan.outcomes) all.Add(outcome);
    EXPECT_NEAR(all.bits / static_cast<double>(all.weights), target, 0.01 * target);
  }
}

TEST(LossyPlannerTest, FineTensorsGetSmallerErrorsWithinTheSameTarget) {
  std::mt19937_64 random(4);
  const std::vector<Pair> pairs = {MakePair(random, DType::kF32, 40'000, 0.02),
                                   MakePair(random, DType::kF32, 40'000, 0.02)};
  for (const TensorPolicy& policy :
       {TensorPolicy{.strategy = Strategy::kNearLossless, .relative_error = 0.1},
        TensorPolicy{.strategy = Strategy::kNearLossless, .bits_per_weight = 4}}) {
    std::vector<LossyTensor> tensors;
    for (const Pair& pair : pairs) tensors.push_back(Describe(pair, DType::kF32, policy));
    tensors[1].fineness = 4;
    const Plan plan = RunPlanner(pairs, tensors);
    EXPECT_NEAR(plan.params[0].step / plan.params[1].step, 4, 0.1);
    EXPECT_LE(plan.outcomes[1].RelativeError(), 0.3 * plan.outcomes[0].RelativeError());
    if (policy.relative_error > 0) {
      EXPECT_NEAR(plan.RelativeError(), 0.1, 0.002);
    } else {
      const double bits = plan.outcomes[0].bits + plan.outcomes[1].bits;
      EXPECT_NEAR(bits / 80'000, 4, 0.04);
    }
  }
}

TEST(LossyPlannerTest, SparseDropsTheShareThatWasAsked) {
  std::mt19937_64 random(3);
  const std::vector<Pair> pairs = MakePairs(random, DType::kF32);
  for (const double sparsity : {0.5, 0.9, 0.99}) {
    const TensorPolicy policy{.strategy = Strategy::kSparse, .sparsity = sparsity};
    std::vector<LossyTensor> tensors;
    for (const Pair& pair : pairs) tensors.push_back(Describe(pair, DType::kF32, policy));
    const Plan plan = RunPlanner(pairs, tensors);
    for (const LossyOutcome& outcome : plan.outcomes) {
      const double kept = static_cast<double>(outcome.altered);
      const double wanted = (1 - sparsity) * static_cast<double>(outcome.weights);
      EXPECT_NEAR(kept, wanted, 0.005 * wanted + 2) << sparsity;
    }
  }
}

TEST(LossyPlannerTest, LosslessWhereThatIsSmaller) {
  std::mt19937_64 random(4);
  const std::vector<Pair> pairs = MakePairs(random, DType::kBF16);
  const TensorPolicy policy{.strategy = Strategy::kAuto, .relative_error = 0.1};
  std::vector<LossyTensor> tensors;
  for (const Pair& pair : pairs) tensors.push_back(Describe(pair, DType::kBF16, policy));
  tensors[0].lossless_bits = 1;
  const Plan plan = RunPlanner(pairs, tensors);
  EXPECT_EQ(plan.params[0].strategy, Strategy::kLossless);
  EXPECT_EQ(plan.params[1].strategy, Strategy::kNearLossless);
  EXPECT_LE(plan.RelativeError(), 0.1);
}

TEST(LossyPlannerTest, WhatCannotBeLossyIsPlannedLossless) {
  std::mt19937_64 random(5);
  const Pair pair = MakePair(random, DType::kBF16, 1000, 0.1);
  const TensorPolicy policy{.strategy = Strategy::kNearLossless, .relative_error = 0.1};
  std::vector<LossyTensor> tensors(4, Describe(pair, DType::kBF16, policy));
  tensors[0].moments.finite = false;
  tensors[1] = Describe({pair.parent, pair.parent}, DType::kBF16, policy);
  tensors[2].dtype = DType::kI16;
  tensors[3].policy.strategy = Strategy::kLossless;
  const LossyPlanner planner(tensors, Effort::kFast);
  for (const LossyParams& params : planner.params()) {
    EXPECT_EQ(params.strategy, Strategy::kLossless);
  }
}

TEST(LossyPlannerTest, OutcomesOfOtherTensorsAreRefused) {
  LossyPlanner planner({}, Effort::kFast);
  EXPECT_EQ(planner.Refine({LossyOutcome{}}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(LossyMomentsTest, PartsAddUp) {
  std::mt19937_64 random(6);
  for (const DType dtype : kLossyDTypes) {
    const Pair pair = MakePair(random, dtype, 1003, 0.1, 0.3);
    const DeltaMoments whole = *MeasureDelta(dtype, pair.target, pair.parent);
    const size_t cut = 77 * static_cast<size_t>(LaneBytes(dtype));
    DeltaMoments sum = *MeasureDelta(dtype, pair.target.substr(0, cut), pair.parent.substr(0, cut));
    sum.Add(*MeasureDelta(dtype, pair.target.substr(cut), pair.parent.substr(cut)));
    EXPECT_EQ(sum.weights, 1003u);
    EXPECT_EQ(sum.changed, whole.changed);
    EXPECT_NEAR(sum.squared_delta, whole.squared_delta, 1e-12 * whole.squared_delta);
    EXPECT_NEAR(sum.absolute_delta, whole.absolute_delta, 1e-12 * whole.absolute_delta);
    EXPECT_EQ(sum.max_absolute_delta, whole.max_absolute_delta);
    EXPECT_TRUE(sum.finite);
  }
}

}  // namespace
}  // namespace wdelta
