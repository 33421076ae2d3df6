// A family of models to merge, and what should come of it.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "storage/base/error.h"
#include "storage/engine/records/merge_recipe.h"
#include "storage/tensor/element_values.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/merge_reference.h"

namespace wdelta::testing {

inline constexpr DType kMerged[] = {DType::kF64,        DType::kF32,       DType::kF16,
                                    DType::kBF16,       DType::kF8E4M3,    DType::kF8E5M2,
                                    DType::kF8E4M3FNUZ, DType::kF8E5M2FNUZ};

inline TestTensor TensorOf(const std::string& name, DType dtype, const Vector& numbers) {
  return {name, dtype, {numbers.size()}, WriteNumbers(dtype, numbers).value()};
}

inline Vector NumbersOf(const TestTensor& tensor) {
  Vector numbers(tensor.data.size() / BytesPerNumber(tensor.dtype));
  EXPECT_TRUE(ReadNumbers(tensor.dtype, tensor.data, absl::MakeSpan(numbers)).ok());
  return numbers;
}

inline Vector RandomNumbers(size_t size, std::mt19937& random) {
  std::normal_distribution<double> normal(0, 0.05);
  Vector numbers(size);
  for (double& number : numbers) number = normal(random);
  return numbers;
}

// A third of the numbers moved a little.
inline TestTensor Moved(const TestTensor& tensor, std::mt19937& random) {
  Vector numbers = NumbersOf(tensor);
  std::normal_distribution<double> normal(0, 0.01);
  for (double& number : numbers) number += random() % 3 == 0 ? normal(random) : 0;
  TestTensor moved = TensorOf(tensor.name, tensor.dtype, numbers);
  moved.shape = tensor.shape;
  return moved;
}

class MergeTest : public EngineTest {
 protected:
  using Tensors = std::vector<TestTensor>;

  void Store(const std::string& name, const Tensors& tensors,
             const std::vector<std::string>& parents = {}, const std::string& config = "{}") {
    const auto uploaded = Upload(
        name, {{"model.safetensors", BuildSafetensors(tensors)}, {"config.json", config}}, parents);
    ASSERT_TRUE(uploaded.ok()) << uploaded.status();
    RunJobs();
  }

  // `base` and the fine-tunes `a` and `b`.
  void StoreFamily(uint32_t seed) {
    std::mt19937 random(seed);
    base_.clear();
    for (const DType dtype : kMerged) {
      base_.push_back(
          TensorOf(absl::StrCat("t.", DTypeName(dtype)), dtype, RandomNumbers(500, random)));
    }
    // Of several chunks.
    base_.push_back(TensorOf("large", DType::kF32, RandomNumbers(300'001, random)));
    base_.push_back({"none", DType::kF32, {0, 4}, ""});
    base_.push_back({"scalar", DType::kF32, {}, WriteNumbers(DType::kF32, Vector{3}).value()});
    base_.push_back({"ids", DType::kI32, {2}, "abcdefgh"});
    for (const TestTensor& tensor : base_) {
      const bool is_float = IsRounded(tensor.dtype);
      a_.push_back(is_float ? Moved(tensor, random) : tensor);
      b_.push_back(is_float ? Moved(tensor, random) : tensor);
    }
    a_.back().data = "ABCDEFGH";
    Store("base", base_, {}, "{\"of\": \"base\"}");
    Store("a", a_, {"base"}, "{\"of\": \"a\"}");
    Store("b", b_, {"base"}, "{\"of\": \"b\"}");
  }

  static MergeParams Params(store::v1::MergeRecipe::Method method,
                            const std::vector<std::string>& sources,
                            const std::vector<double>& weights) {
    MergeParams params;
    params.name = "merged";
    params.recipe.set_method(method);
    for (const double weight : weights) params.recipe.add_sources()->set_weight(weight);
    params.sources = sources;
    if (HasBase(method)) params.base = "base";
    params.recipe.set_scale(0.75);
    params.recipe.set_density(0.3);
    return params;
  }

  std::string Start(const MergeParams& params) {
    const auto started = store_->merges().Start(params);
    EXPECT_TRUE(started.ok()) << started.status();
    return started.ok() ? started->job_id : "";
  }
  std::string ReasonOf(const MergeParams& params) {
    return ErrorReason(store_->merges().Start(params).status());
  }

  // The file that a merge of the family should give.
  std::string ExpectedFile(const MergeParams& params) const {
    const bool has_base = HasBase(params.recipe.method());
    Tensors expected = has_base ? base_ : a_;
    for (size_t i = 0; i < expected.size(); ++i) {
      if (!IsRounded(expected[i].dtype)) continue;
      std::vector<Vector> models;
      if (has_base) models.push_back(NumbersOf(base_[i]));
      models.push_back(NumbersOf(a_[i]));
      models.push_back(NumbersOf(b_[i]));
      if (models[0].empty()) continue;
      expected[i].data =
          WriteNumbers(expected[i].dtype, ReferenceMerge(params.recipe, models)).value();
    }
    return BuildSafetensors(expected);
  }

  void ExpectNoHolds() {
    EXPECT_THAT(catalog_.Scan({"needed_by/", PrefixEnd("needed_by/"), 10, false})->records,
                ::testing::IsEmpty());
  }

  Tensors base_, a_, b_;
};

}  // namespace wdelta::testing
