// Malformed policies of what may be lost.
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/server/malformed_table.h"

namespace wdelta::testing {
namespace {

using Policy = v1::FidelityPolicy;

class MalformedFidelityTest : public MalformedInputTest {
 protected:
  template <typename Change>
  void Add(const std::string& label, Change change, std::vector<std::string> words,
           v1::UploadKind kind = v1::CHECKPOINT) {
    v1::StartUploadRequest request;
    request.set_name("bad");
    request.set_kind(kind);
    request.add_parents()->set_model("good");
    change(*request.mutable_fidelity());
    cases_.push_back({label,
                      [this, request] {
                        return Call(*server_.uploads, &v1::Uploads::Stub::StartUpload, request);
                      },
                      "INVALID_ARGUMENT BAD_FIDELITY", std::move(words)});
  }

  std::vector<MalformedCase> cases_;
};

TEST_F(MalformedFidelityTest, NumbersOutOfRange) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinite = std::numeric_limits<double>::infinity();
  const std::string expected = ": expected a number above 0 and below 1";
  for (const double value : {0.0, 1.0, -0.5, 2.0, nan, infinite}) {
    const std::string found = absl::StrCat("found ", value);
    Add(absl::StrCat("relative error ", value),
        [&](Policy& p) { p.mutable_near_lossless()->set_relative_error(value); },
        {"fidelity.near_lossless.relative_error" + expected, found});
    Add(absl::StrCat("sparsity ", value),
        [&](Policy& p) { p.mutable_sparse()->set_sparsity(value); },
        {"fidelity.sparse.sparsity" + expected, found});
    Add(absl::StrCat("auto ", value),
        [&](Policy& p) { p.mutable_auto_()->set_relative_error(value); },
        {"fidelity.auto.relative_error" + expected, found});
  }
  for (const double value : {0.0, -1.0, 33.0, nan, infinite}) {
    Add(absl::StrCat("bits ", value),
        [&](Policy& p) { p.mutable_near_lossless()->set_bits_per_weight(value); },
        {"bits_per_weight: expected a number above 0 and at most 32",
         absl::StrCat("found ", value)});
  }
  Run(cases_, 23);
}

TEST_F(MalformedFidelityTest, TargetsRulesAndStrategies) {
  Add("neither target", [](Policy& p) { p.mutable_near_lossless(); }, {"found neither"});
  Add("both targets",
      [](Policy& p) {
        p.mutable_near_lossless()->set_relative_error(0.1);
        p.mutable_near_lossless()->set_bits_per_weight(2);
      },
      {"found both"});
  Add("no sparsity", [](Policy& p) { p.mutable_sparse(); }, {"sparsity", "found none"});
  Add("no error", [](Policy& p) { p.mutable_auto_(); }, {"relative_error", "found none"});
  Add("no pattern", [](Policy& p) { p.add_rules()->mutable_lossless(); },
      {"fidelity.rules[0].name_pattern: expected a pattern, found an empty one"});
  Add("long pattern",
      [](Policy& p) {
        p.add_rules()->set_name_pattern("*");
        p.mutable_rules(0)->mutable_lossless();
        p.add_rules()->set_name_pattern(std::string(1025, '*'));
        p.mutable_rules(1)->mutable_lossless();
      },
      {"fidelity.rules[1].name_pattern: expected at most 1024 bytes, found 1025"});
  Add("bad rule",
      [](Policy& p) {
        p.add_rules()->set_name_pattern("*");
        p.mutable_rules(0)->mutable_sparse()->set_sparsity(7);
      },
      {"fidelity.rules[0].sparse.sparsity", "found 7"});
  Add("many rules",
      [](Policy& p) {
        for (int i = 0; i < 1001; ++i) {
          p.add_rules()->set_name_pattern("*");
          p.mutable_rules(i)->mutable_lossless();
        }
      },
      {"fidelity.rules: expected at most 1000, found 1001"});
  Add("effort", [](Policy& p) { p.set_effort(static_cast<Policy::Effort>(9)); },
      {"effort: expected", "9"});
  Add("a strategy of the future",
      [](Policy& p) { p.GetReflection()->MutableUnknownFields(&p)->AddLengthDelimited(15, ""); },
      {"fidelity", "a strategy or field that this server does not know"});
  Add(
      "a lossy import", [](Policy& p) { p.mutable_one_bit(); },
      {"fidelity: expected lossless for an import"}, v1::WDELTA);
  Run(cases_, 11);
}

}  // namespace
}  // namespace wdelta::testing
