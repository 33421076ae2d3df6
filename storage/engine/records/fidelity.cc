#include "storage/engine/records/fidelity.h"

#include <algorithm>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/shell_pattern.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

using store::v1::FidelityPolicy;
using store::v1::ModelRecord;

static_assert(store::v1::LOSSLESS == static_cast<int>(Strategy::kLossless) &&
              store::v1::NEAR_LOSSLESS == static_cast<int>(Strategy::kNearLossless) &&
              store::v1::SPARSE == static_cast<int>(Strategy::kSparse) &&
              store::v1::ONE_BIT == static_cast<int>(Strategy::kOneBit) &&
              store::v1::AUTO == static_cast<int>(Strategy::kAuto));
static_assert(store::v1::FAST == static_cast<int>(Effort::kFast) &&
              store::v1::MAX == static_cast<int>(Effort::kMax));

absl::Status Bad(absl::string_view field, absl::string_view expected, absl::string_view found) {
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_FIDELITY",
                   absl::StrCat(field, ": expected ", expected, ", found ", found),
                   {{"field", std::string(field)}});
}

// An open interval below, so that NaN is in none.
absl::Status CheckFraction(absl::string_view field, bool is_given, double value) {
  constexpr absl::string_view kExpected = "a number above 0 and below 1";
  if (!is_given) return Bad(field, kExpected, "none");
  if (value > 0 && value < 1) return absl::OkStatus();
  return Bad(field, kExpected, absl::StrCat(value));
}

absl::Status CheckNearLossless(const std::string& field, const store::v1::TensorPolicy& policy) {
  if (policy.has_relative_error() && policy.has_bits_per_weight()) {
    return Bad(field, "relative_error or bits_per_weight", "both");
  }
  if (!policy.has_bits_per_weight()) {
    if (!policy.has_relative_error()) {
      return Bad(field, "relative_error or bits_per_weight", "neither");
    }
    return CheckFraction(absl::StrCat(field, ".relative_error"), true, policy.relative_error());
  }
  const double bits = policy.bits_per_weight();
  if (bits > 0 && bits <= limits::kMaxBitsPerWeight) return absl::OkStatus();
  return Bad(absl::StrCat(field, ".bits_per_weight"),
             absl::StrCat("a number above 0 and at most ", limits::kMaxBitsPerWeight),
             absl::StrCat(bits));
}

absl::Status CheckPolicy(const std::string& prefix, const store::v1::TensorPolicy& policy) {
  switch (policy.strategy()) {
    case store::v1::LOSSLESS:
    case store::v1::ONE_BIT:
      return absl::OkStatus();
    case store::v1::NEAR_LOSSLESS:
      return CheckNearLossless(absl::StrCat(prefix, ".near_lossless"), policy);
    case store::v1::SPARSE:
      return CheckFraction(absl::StrCat(prefix, ".sparse.sparsity"), policy.has_sparsity(),
                           policy.sparsity());
    case store::v1::AUTO:
      return CheckFraction(absl::StrCat(prefix, ".auto.relative_error"),
                           policy.has_relative_error(), policy.relative_error());
    default:
      return Bad(prefix, "a strategy of this version", absl::StrCat(policy.strategy()));
  }
}

absl::Status CheckPattern(const std::string& field, const std::string& pattern) {
  if (pattern.empty()) return Bad(field, "a pattern", "an empty one");
  if (pattern.size() <= limits::kMaxTensorPatternBytes) return absl::OkStatus();
  return Bad(field, absl::StrCat("at most ", limits::kMaxTensorPatternBytes, " bytes"),
             absl::StrCat(pattern.size()));
}

}  // namespace

absl::Status ValidateFidelity(const FidelityPolicy& policy) {
  WDELTA_RETURN_IF_ERROR(CheckPolicy("fidelity", policy.all()));
  if (static_cast<uint64_t>(policy.rules_size()) > limits::kMaxTensorPatterns) {
    return Bad("fidelity.rules", absl::StrCat("at most ", limits::kMaxTensorPatterns),
               absl::StrCat(policy.rules_size()));
  }
  for (int i = 0; i < policy.rules_size(); ++i) {
    const std::string prefix = absl::StrCat("fidelity.rules[", i, "]");
    WDELTA_RETURN_IF_ERROR(
        CheckPattern(absl::StrCat(prefix, ".name_pattern"), policy.rules(i).name_pattern()));
    WDELTA_RETURN_IF_ERROR(CheckPolicy(prefix, policy.rules(i).policy()));
  }
  if (store::v1::Effort_IsValid(policy.effort())) return absl::OkStatus();
  return Bad("fidelity.effort", "FAST or MAX", absl::StrCat(policy.effort()));
}

TensorPolicy PolicyOf(const FidelityPolicy& policy, absl::string_view tensor_name) {
  const auto rule = std::find_if(
      policy.rules().begin(), policy.rules().end(),
      [&](const auto& candidate) { return MatchesPattern(candidate.name_pattern(), tensor_name); });
  const store::v1::TensorPolicy& found =
      rule == policy.rules().end() ? policy.all() : rule->policy();
  return {.strategy = static_cast<Strategy>(found.strategy()),
          .relative_error = found.relative_error(),
          .bits_per_weight = found.bits_per_weight(),
          .sparsity = found.sparsity()};
}

bool AllowsLoss(const FidelityPolicy& policy) {
  return policy.all().strategy() != store::v1::LOSSLESS ||
         std::any_of(policy.rules().begin(), policy.rules().end(), [](const auto& rule) {
           return rule.policy().strategy() != store::v1::LOSSLESS;
         });
}

bool AwaitsLoss(const ModelRecord& model) {
  return model.state() != ModelRecord::READY && model.state() != ModelRecord::DELETED &&
         model.parents_size() > 0 && AllowsLoss(model.fidelity());
}

}  // namespace wdelta
