#include "storage/engine/merge/merge_math.h"

#include <cmath>
#include <limits>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "storage/engine/merge/trim_selection.h"
#include "storage/engine/records/merge_recipe.h"
#include "tests/support/merge_reference.h"

namespace wdelta::testing {
namespace {

using store::v1::MergeRecipe;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

MergeRecipe Recipe(MergeRecipe::Method method, const std::vector<double>& weights, double scale = 1,
                   double density = 1) {
  MergeRecipe recipe;
  recipe.set_method(method);
  for (const double weight : weights) recipe.add_sources()->set_weight(weight);
  recipe.set_scale(scale);
  recipe.set_density(density);
  return recipe;
}

uint32_t LeastKey(const Vector& numbers, uint64_t keep) {
  TrimSelection selection(keep);
  for (int pass = 0; pass < 2; ++pass) {
    std::vector<uint32_t> counts(TrimSelection::kBuckets, 0);
    for (const double number : numbers) {
      selection.Count(MagnitudeKey(number), absl::MakeSpan(counts));
    }
    selection.Add(counts);
    selection.EndPass();
  }
  return selection.least_key();
}

Vector Merge(const MergeRecipe& recipe, const std::vector<Vector>& models) {
  std::vector<uint32_t> least_keys;
  if (recipe.method() == MergeRecipe::TIES) {
    for (size_t m = 1; m < models.size(); ++m) {
      const uint64_t keep = TrimSelection::KeptOf(models[0].size(), recipe.density());
      least_keys.push_back(LeastKey(ReferenceDeltas(models[m], models[0]), keep));
    }
  }
  const std::vector<Numbers> runs(models.begin(), models.end());
  Vector merged(models[0].size());
  MergeNumbers(recipe, runs, least_keys, absl::MakeSpan(merged));
  return merged;
}

TEST(MergeMathTest, AsWrittenDown) {
  EXPECT_THAT(Merge(Recipe(MergeRecipe::LINEAR, {1, 3}), {{1, -2}, {5, 2}}), ElementsAre(4, 1));
  EXPECT_THAT(Merge(Recipe(MergeRecipe::TASK_ARITHMETIC, {1, 0.5}, 2),
                    {{10, 10, 10}, {11, 10, 8}, {14, 10, 10}}),
              ElementsAre(16, 10, 6));
  // Of each source the two largest deltas are kept: {4, -3, ., .} and {-6, ., 5, .}.
  EXPECT_THAT(Merge(Recipe(MergeRecipe::TIES, {1, 1}, 1, 0.5),
                    {{0, 0, 0, 0}, {4, -3, 2, 1}, {-6, 1, 5, -1}}),
              ElementsAre(-6, -3, 5, 0));
  // The heavier source wins the election and is alone in the mean.
  EXPECT_THAT(Merge(Recipe(MergeRecipe::TIES, {3, 1}), {{0}, {1}, {-2}}), ElementsAre(1));
  EXPECT_THAT(Merge(Recipe(MergeRecipe::TIES, {1, 1}), {{7}, {9}, {5}}), ElementsAre(7));
  EXPECT_THAT(Merge(Recipe(MergeRecipe::TIES, {1, 3}), {{0}, {4}, {8}}), ElementsAre(7));
}

TEST(MergeMathTest, NumbersThatAreNotFinite) {
  using ::testing::IsNan;
  EXPECT_THAT(Merge(Recipe(MergeRecipe::LINEAR, {1, 1}),
                    {{kNaN, kInfinity, kInfinity}, {1, 1, -kInfinity}}),
              ElementsAre(IsNan(), kInfinity, IsNan()));
  EXPECT_THAT(Merge(Recipe(MergeRecipe::LINEAR, {0, 1}), {{kNaN}, {1}}), ElementsAre(1));
  for (const auto method : {MergeRecipe::TASK_ARITHMETIC, MergeRecipe::TIES}) {
    // A mask of infinities stays; a NaN shows, also where much is trimmed.
    EXPECT_THAT(
        Merge(Recipe(method, {1}, 1, 0.3),
              {{-kInfinity, kNaN, 0, 0, 1}, {-kInfinity, 1, kNaN, kInfinity, 1}}),
        ElementsAre(-kInfinity, IsNan(), IsNan(), method == MergeRecipe::TIES ? 0 : kInfinity, 1));
  }
  EXPECT_THAT(Merge(Recipe(MergeRecipe::TIES, {1, 1}), {{0}, {kInfinity}, {-kInfinity}}),
              ElementsAre(IsNan()));
}

TEST(MergeMathTest, WhatDoesNotChangeKeepsItsBits) {
  for (const auto method : {MergeRecipe::LINEAR, MergeRecipe::TASK_ARITHMETIC, MergeRecipe::TIES}) {
    // The base, where there is one, and a source for each weight.
    std::vector<Vector> models(method == MergeRecipe::LINEAR ? 2 : 3, {-0.0});
    const Vector merged = Merge(Recipe(method, {1, 1}), models);
    EXPECT_TRUE(std::signbit(merged[0])) << method;
  }
}

TEST(MergeMathTest, LinearWeightsOfAnySizeAreShares) {
  const std::vector<Vector> models = {{1e10, 4, 1e300}, {3e10, 8, -1e300}};
  for (const double size : {1.0, 1e-300, 1e-200, 1e200, 0x1p1022}) {
    EXPECT_THAT(Merge(Recipe(MergeRecipe::LINEAR, {size, size}), models), ElementsAre(2e10, 6, 0))
        << size;
  }
  // The weights' products with the numbers would be beyond a double.
  EXPECT_THAT(Merge(Recipe(MergeRecipe::LINEAR, {1e308, -0.9e308}), {{8}, {9}}),
              ElementsAre(::testing::DoubleNear(-1, 1e-9)));
}

TEST(MergeMathTest, LinearKeepsWhatIsEqualInAllSources) {
  // A third of it, three times, is another number.
  const uint32_t seed = 43;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  for (int run = 0; run < 1000; ++run) {
    const double number = normal(random);
    const Vector merged =
        Merge(Recipe(MergeRecipe::LINEAR, {0.1, 0.7, 1.0 + run, 0}),
              {{number, kInfinity}, {number, kInfinity}, {number, kInfinity}, {7, 7}});
    ASSERT_THAT(merged, ElementsAre(number, kInfinity));
  }
  // A negative share of it would be infinity without infinity.
  EXPECT_THAT(Merge(Recipe(MergeRecipe::LINEAR, {2, -1}), {{kInfinity}, {kInfinity}}),
              ElementsAre(kInfinity));
}

TEST(MergeMathTest, IsThatOfAReferenceOverWholeTensors) {
  const uint32_t seed = 41;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  for (int run = 0; run < 300; ++run) {
    const auto method = static_cast<MergeRecipe::Method>(1 + random() % 3);
    const size_t sources = 2 + random() % 4;
    std::vector<double> weights;
    for (size_t i = 0; i < sources; ++i) weights.push_back(0.25 + random() % 8 / 4.0);
    const MergeRecipe recipe =
        Recipe(method, weights, random() % 5 / 2.0, (1 + random() % 100) / 100.0);
    const size_t size = 1 + random() % 400;
    const bool is_integer = random() % 2 == 0;  // so that there are ties
    std::vector<Vector> models(sources + (HasBase(method) ? 1 : 0), Vector(size));
    for (Vector& model : models) {
      for (double& number : model) {
        number = is_integer ? static_cast<double>(random() % 7) - 3 : normal(random);
      }
    }
    ASSERT_EQ(Merge(recipe, models), ReferenceMerge(recipe, models)) << recipe.DebugString();
  }
}

TEST(TrimSelectionTest, IsTheKthLargestOfASort) {
  const uint32_t seed = 42;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  for (int run = 0; run < 60; ++run) {
    Vector numbers(1 + random() % 500);
    for (double& number : numbers) {
      number = normal(random) * std::pow(10.0, static_cast<int>(random() % 80) - 45);
      if (random() % 10 == 0) number = 0;
      if (random() % 50 == 0) number = -kInfinity;
      if (random() % 50 == 0) number = kNaN;
    }
    std::vector<uint32_t> keys;
    for (const double number : numbers) keys.push_back(MagnitudeKey(number));
    std::sort(keys.begin(), keys.end(), std::greater<>());
    for (const uint64_t keep :
         {uint64_t{1}, uint64_t{1 + random() % numbers.size()}, uint64_t{numbers.size()}}) {
      EXPECT_EQ(LeastKey(numbers, keep), keys[keep - 1]) << keep;
    }
  }
  EXPECT_EQ(LeastKey({0, 0, 0}, 2), 0u);
}

TEST(TrimSelectionTest, KeepsAShareAndOneAtLeast) {
  EXPECT_EQ(TrimSelection::KeptOf(10, 0.2), 2u);
  EXPECT_EQ(TrimSelection::KeptOf(10, 0.25), 3u);
  EXPECT_EQ(TrimSelection::KeptOf(10, 1e-9), 1u);
  EXPECT_EQ(TrimSelection::KeptOf(10, 1), 10u);
  EXPECT_EQ(TrimSelection::KeptOf(uint64_t{1} << 40, 0.5), uint64_t{1} << 39);
}

TEST(MergeRecipeTest, RefusesWhatCannotBeComputed) {
  const auto reason = [](const MergeRecipe& recipe) { return ErrorReason(ValidateRecipe(recipe)); };
  EXPECT_EQ(reason(Recipe(MergeRecipe::LINEAR, {1, -0.5})), "");
  EXPECT_EQ(reason(Recipe(MergeRecipe::TASK_ARITHMETIC, {-1})), "");
  EXPECT_EQ(reason(Recipe(MergeRecipe::TIES, {1})), "");
  EXPECT_EQ(reason(Recipe(MergeRecipe::METHOD_UNSPECIFIED, {1, 1})), "BAD_METHOD");
  EXPECT_EQ(reason(Recipe(MergeRecipe::LINEAR, {1})), "BAD_SOURCES");
  EXPECT_EQ(reason(Recipe(MergeRecipe::TIES, {})), "BAD_SOURCES");
  EXPECT_EQ(reason(Recipe(MergeRecipe::LINEAR, std::vector<double>(17, 1))), "BAD_SOURCES");
  EXPECT_EQ(reason(Recipe(MergeRecipe::LINEAR, {1, -1})), "BAD_WEIGHT");
  EXPECT_EQ(reason(Recipe(MergeRecipe::LINEAR, {1, kInfinity})), "BAD_WEIGHT");
  EXPECT_EQ(reason(Recipe(MergeRecipe::LINEAR, {1.7e308, 1.7e308})), "BAD_WEIGHT");
  EXPECT_EQ(reason(Recipe(MergeRecipe::LINEAR, {1e308, 0.7e308})), "");
  EXPECT_EQ(reason(Recipe(MergeRecipe::LINEAR, {2e-308, 2e-308})), "");
  EXPECT_EQ(reason(Recipe(MergeRecipe::LINEAR, {1e-310, 1e-310})), "BAD_WEIGHT");
  EXPECT_EQ(reason(Recipe(MergeRecipe::LINEAR, {5e-324, 0})), "BAD_WEIGHT");
  EXPECT_EQ(reason(Recipe(MergeRecipe::LINEAR, {1e308, -1e308, 3e-308})), "BAD_WEIGHT");
  EXPECT_EQ(reason(Recipe(MergeRecipe::TIES, {1, 0})), "BAD_WEIGHT");
  EXPECT_EQ(reason(Recipe(MergeRecipe::TASK_ARITHMETIC, {1}, kNaN)), "BAD_LAMBDA");
  EXPECT_EQ(reason(Recipe(MergeRecipe::TIES, {1}, 1, 0)), "BAD_DENSITY");
  EXPECT_EQ(reason(Recipe(MergeRecipe::TIES, {1}, 1, 1.01)), "BAD_DENSITY");
  EXPECT_EQ(reason(Recipe(MergeRecipe::TIES, {1}, 1, kNaN)), "BAD_DENSITY");
  MergeRecipe named = Recipe(MergeRecipe::TIES, {1, -2});
  named.mutable_sources(1)->set_name("b");
  EXPECT_THAT(ValidateRecipe(named).message(),
              HasSubstr("weight of 'b': expected a finite number greater than 0, found -2"));
}

TEST(MergeRecipeTest, MetadataTellsHowToDoItAgain) {
  EXPECT_EQ(RecipeMetadata(Recipe(MergeRecipe::TIES, {0.1, 2}, 0.7, 0.2), {"b0", "a1", "a2"}),
            (StringMap{{"merge.method", "ties"},
                       {"merge.base", "sha256:b0"},
                       {"merge.sources", "sha256:a1 sha256:a2"},
                       {"merge.weights", "0.1,2"},
                       {"merge.lambda", "0.7"},
                       {"merge.density", "0.2"}}));
  EXPECT_EQ(RecipeMetadata(Recipe(MergeRecipe::LINEAR, {1, 1e-7}), {"a1", "a2"}),
            (StringMap{{"merge.method", "linear"},
                       {"merge.sources", "sha256:a1 sha256:a2"},
                       {"merge.weights", "1,1e-07"}}));
}

}  // namespace
}  // namespace wdelta::testing
