// What an upload may ask of the bits of its tensors, and what is refused.
#include "storage/engine/records/fidelity.h"

#include <cmath>
#include <string>

#include "gmock/gmock.h"
#include "storage/base/error.h"
#include "tests/engine/fidelity_policies.h"

namespace wdelta {
namespace {

using store::v1::FidelityPolicy;
using ::testing::HasSubstr;
using testing::Policy;

TEST(ValidateFidelity, RefusesWhatIsOutOfRange) {
  const auto message = [](const FidelityPolicy& policy) {
    const absl::Status status = ValidateFidelity(policy);
    EXPECT_EQ(ErrorReason(status), status.ok() ? "" : "BAD_FIDELITY");
    return std::string(status.message());
  };
  EXPECT_EQ(message(FidelityPolicy()), "");
  EXPECT_EQ(message(Policy(store::v1::NEAR_LOSSLESS, 0.05)), "");
  EXPECT_EQ(message(Policy(store::v1::ONE_BIT)), "");
  EXPECT_THAT(message(Policy(store::v1::NEAR_LOSSLESS)), HasSubstr("found neither"));
  FidelityPolicy both = Policy(store::v1::NEAR_LOSSLESS, 0.05);
  both.mutable_all()->set_bits_per_weight(4);
  EXPECT_THAT(message(both), HasSubstr("found both"));
  EXPECT_THAT(message(Policy(store::v1::NEAR_LOSSLESS, 1.5)),
              HasSubstr("fidelity.near_lossless.relative_error: expected a number above 0 and "
                        "below 1, found 1.5"));
  EXPECT_THAT(message(Policy(store::v1::NEAR_LOSSLESS, 33, true)), HasSubstr("at most 32"));
  FidelityPolicy nan = Policy(store::v1::AUTO, 0.5);
  nan.mutable_all()->set_relative_error(std::nan(""));
  EXPECT_THAT(message(nan), HasSubstr("fidelity.auto.relative_error"));
  EXPECT_THAT(message(nan), HasSubstr("found nan"));
  EXPECT_THAT(message(Policy(store::v1::AUTO)), HasSubstr("found none"));
  EXPECT_THAT(message(Policy(store::v1::SPARSE, 0)), HasSubstr("sparsity"));
  FidelityPolicy rule;
  rule.add_rules()->mutable_policy()->set_strategy(store::v1::ONE_BIT);
  EXPECT_THAT(message(rule), HasSubstr("fidelity.rules[0].name_pattern"));
}

}  // namespace
}  // namespace wdelta
