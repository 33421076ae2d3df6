#include "client/cli/fidelity_arguments.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr absl::string_view kStrategies = "lossless, near-lossless, sparse, onebit or auto";

struct Figures {
  std::optional<double> relative_error;
  std::optional<double> bits_per_weight;
  std::optional<double> sparsity;
};

// Names of the figures that are given.
std::string Given(const Figures& figures) {
  std::vector<std::string> names;
  if (figures.relative_error.has_value()) names.push_back("relative error");
  if (figures.bits_per_weight.has_value()) names.push_back("bits per weight");
  if (figures.sparsity.has_value()) names.push_back("sparsity");
  return absl::StrJoin(names, " and ");
}

// `Policy`: FidelityPolicy or one of its rules. `figures` is emptied of what the strategy
// takes.
template <typename Policy>
absl::Status SetStrategy(absl::string_view strategy, Figures figures, Policy& policy) {
  if (strategy == "lossless") {
    policy.mutable_lossless();
  } else if (strategy == "near-lossless") {
    auto& near_lossless = *policy.mutable_near_lossless();
    if (figures.relative_error.has_value()) {
      near_lossless.set_relative_error(*std::exchange(figures.relative_error, std::nullopt));
    }
    if (figures.bits_per_weight.has_value()) {
      near_lossless.set_bits_per_weight(*std::exchange(figures.bits_per_weight, std::nullopt));
    }
  } else if (strategy == "sparse") {
    auto& sparse = *policy.mutable_sparse();
    if (figures.sparsity.has_value()) {
      sparse.set_sparsity(*std::exchange(figures.sparsity, std::nullopt));
    }
  } else if (strategy == "onebit") {
    policy.mutable_one_bit();
  } else if (strategy == "auto") {
    auto& automatic = *policy.mutable_auto_();
    if (figures.relative_error.has_value()) {
      automatic.set_relative_error(*std::exchange(figures.relative_error, std::nullopt));
    }
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("fidelity `", strategy, "`: expected ", kStrategies));
  }
  const std::string left = Given(figures);
  if (left.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("fidelity `", strategy, "`: expected no ", left, ", found one"));
}

absl::StatusOr<Figures> ParseFigure(absl::string_view strategy, absl::string_view text) {
  absl::string_view digits = text;
  const bool is_bits = absl::ConsumeSuffix(&digits, "b");
  double value = 0;
  if (!absl::SimpleAtod(digits, &value)) {
    return absl::InvalidArgumentError(
        absl::StrCat("`", text, "`: expected a number, or one of bits as in 4b"));
  }
  Figures figures;
  if (is_bits) {
    figures.bits_per_weight = value;
  } else if (strategy == "sparse") {
    figures.sparsity = value;
  } else {
    figures.relative_error = value;
  }
  return figures;
}

absl::Status AddRule(absl::string_view text, v1::FidelityPolicy& policy) {
  const size_t equals = text.rfind('=');
  if (equals == absl::string_view::npos || equals == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("`", text, "`: expected PATTERN=STRATEGY[:VALUE]"));
  }
  absl::string_view strategy = text.substr(equals + 1);
  Figures figures;
  const size_t colon = strategy.find(':');
  if (colon != absl::string_view::npos) {
    const absl::string_view figure = strategy.substr(colon + 1);
    strategy = strategy.substr(0, colon);
    WDELTA_ASSIGN_OR_RETURN(figures, ParseFigure(strategy, figure));
  }
  v1::FidelityPolicy::Rule& rule = *policy.add_rules();
  rule.set_name_pattern(std::string(text.substr(0, equals)));
  return SetStrategy(strategy, figures, rule);
}

}  // namespace

void FidelityArguments::AddTo(CLI::App& command) {
  command.add_option("--fidelity", fidelity,
                     "lossless (default), near-lossless, sparse, onebit, auto");
  command.add_option("--relative-error", relative_error,
                     "Of near-lossless and auto: |error| / |delta| of all tensors, 0 to 1");
  command.add_option("--bits-per-weight", bits_per_weight, "Of near-lossless, instead");
  command.add_option("--sparsity", sparsity, "Of sparse: share of deltas dropped, 0 to 1");
  command
      .add_option("--tensor", tensors,
                  "PATTERN=STRATEGY[:VALUE], the first that matches decides; VALUE is the "
                  "relative error, the sparsity, or bits as in 4b; may be repeated")
      ->allow_extra_args(false);
  command.add_option("--effort", effort, "fast (default) or max");
}

absl::StatusOr<v1::FidelityPolicy> FidelityArguments::ToPolicy() const {
  v1::FidelityPolicy policy;
  const Figures figures{relative_error, bits_per_weight, sparsity};
  WDELTA_RETURN_IF_ERROR(SetStrategy(fidelity.empty() ? "lossless" : fidelity, figures, policy));
  for (const std::string& rule : tensors) WDELTA_RETURN_IF_ERROR(AddRule(rule, policy));
  WDELTA_ASSIGN_OR_RETURN(const v1::FidelityPolicy::Effort parsed, ParseEffort(effort));
  policy.set_effort(parsed);
  return policy;
}

absl::StatusOr<v1::FidelityPolicy::Effort> ParseEffort(absl::string_view word) {
  if (word.empty()) return v1::FidelityPolicy::EFFORT_UNSPECIFIED;
  if (word == "fast") return v1::FidelityPolicy::FAST;
  if (word == "max") return v1::FidelityPolicy::MAX;
  return absl::InvalidArgumentError(absl::StrCat("effort `", word, "`: expected fast or max"));
}

}  // namespace wdelta
