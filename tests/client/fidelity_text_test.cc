// How the command line takes a fidelity policy, and shows what came of it.
#include "client/cli/fidelity_text.h"

#include "client/cli/fidelity_arguments.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace wdelta {
namespace {

using ::testing::HasSubstr;

TEST(FidelityArgumentsTest, BuildsThePolicy) {
  FidelityArguments arguments;
  EXPECT_TRUE(arguments.ToPolicy()->has_lossless());
  arguments.fidelity = "near-lossless";
  arguments.relative_error = 0.05;
  arguments.tensors = {"lm_head.*=lossless", "*.mlp.*=sparse:0.9", "a=b=near-lossless:3.5b"};
  arguments.effort = "max";
  const absl::StatusOr<v1::FidelityPolicy> policy = arguments.ToPolicy();
  ASSERT_TRUE(policy.ok()) << policy.status();
  EXPECT_EQ(policy->near_lossless().relative_error(), 0.05);
  EXPECT_FALSE(policy->near_lossless().has_bits_per_weight());
  ASSERT_EQ(policy->rules_size(), 3);
  EXPECT_TRUE(policy->rules(0).has_lossless());
  EXPECT_EQ(policy->rules(1).sparse().sparsity(), 0.9);
  EXPECT_EQ(policy->rules(2).name_pattern(), "a=b");
  EXPECT_EQ(policy->rules(2).near_lossless().bits_per_weight(), 3.5);
  EXPECT_EQ(policy->effort(), v1::FidelityPolicy::MAX);
  EXPECT_EQ(PolicyText(*policy),
            "near-lossless, relative error 0.05; lm_head.* lossless; *.mlp.* sparse, sparsity 0.9; "
            "a=b near-lossless, bits per weight 3.5; effort max");
}

TEST(FidelityArgumentsTest, RefusesWhatDoesNotFit) {
  FidelityArguments unknown;
  unknown.fidelity = "int4";
  EXPECT_THAT(std::string(unknown.ToPolicy().status().message()), HasSubstr("near-lossless"));
  FidelityArguments useless;
  useless.relative_error = 0.05;  // of what?
  EXPECT_FALSE(useless.ToPolicy().ok());
  FidelityArguments mixed;
  mixed.fidelity = "onebit";
  mixed.sparsity = 0.5;
  EXPECT_THAT(std::string(mixed.ToPolicy().status().message()), HasSubstr("sparsity"));
  for (const char* rule : {"sparse", "=sparse", "a=sparse:x", "a=int4", "a=onebit:0.5"}) {
    FidelityArguments bad;
    bad.tensors = {rule};
    EXPECT_FALSE(bad.ToPolicy().ok()) << rule;
  }
  EXPECT_FALSE(ParseEffort("most").ok());
}

TEST(FidelityTextTest, LossIsLabelled) {
  v1::Model model;
  model.set_state(v1::Model::STAGED);
  EXPECT_EQ(FidelityWord(model), "lossless");
  model.mutable_fidelity()->mutable_one_bit();
  EXPECT_EQ(FidelityWord(model), "lossy?");
  EXPECT_EQ(OutcomeText(model), "");
  model.set_state(v1::Model::READY);
  model.mutable_fidelity_outcome()->set_note("no tensor gains by loss");
  EXPECT_EQ(OutcomeText(model), "lossless: no tensor gains by loss");
  model.mutable_fidelity_outcome()->set_lossy(true);
  model.mutable_fidelity_outcome()->set_relative_error(0.0499);
  model.mutable_fidelity_outcome()->set_max_absolute_error(0.001);
  model.mutable_fidelity_outcome()->set_lossy_tensor_count(12);
  EXPECT_EQ(FidelityWord(model), "lossy 0.0499");
  EXPECT_EQ(OutcomeText(model), "lossy, relative error 0.0499, max abs error 0.001, 12 tensors");
  const Json json = ModelJson(model);
  EXPECT_EQ(json["fidelity"]["strategy"], "onebit");
  EXPECT_EQ(json["fidelity_outcome"]["lossy"], true);
  EXPECT_EQ(json["fidelity_outcome"]["relative_error"], 0.0499);
}

TEST(FidelityTextTest, TheWorstTensorsComeFirst) {
  std::vector<v1::Tensor> tensors(4);
  for (int i = 0; i < 3; ++i) {
    tensors[i].set_name("t" + std::to_string(i));
    auto* fidelity = tensors[i].mutable_storage()->mutable_fidelity();
    fidelity->set_strategy(v1::TensorFidelity::NEAR_LOSSLESS);
    fidelity->set_relative_error(0.1 * i);
  }
  tensors[3].set_name("exact");
  const std::string some = TensorErrorTable(tensors, 2);
  EXPECT_LT(some.find("t2"), some.find("t1"));
  EXPECT_EQ(some.find("t0"), std::string::npos);
  EXPECT_THAT(some, HasSubstr("and 1 more"));
  const std::string all = TensorErrorTable(tensors, 0);
  EXPECT_THAT(all, HasSubstr("t0"));
  EXPECT_THAT(all, Not(HasSubstr("exact")));
  EXPECT_THAT(all, HasSubstr("near-lossless"));
}

}  // namespace
}  // namespace wdelta
