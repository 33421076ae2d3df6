#include "client/cli/fidelity_text.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "client/cli/table.h"
#include "client/cli/text.h"

namespace wdelta {
namespace {

std::string Number(double value) { return absl::StrFormat("%.3g", value); }

// `Policy`: FidelityPolicy or one of its rules.
template <typename Policy>
Json StrategyJson(const Policy& policy) {
  Json json;
  switch (policy.policy_case()) {
    case Policy::kNearLossless:
      json["strategy"] = "near-lossless";
      if (policy.near_lossless().has_relative_error()) {
        json["relative_error"] = policy.near_lossless().relative_error();
      }
      if (policy.near_lossless().has_bits_per_weight()) {
        json["bits_per_weight"] = policy.near_lossless().bits_per_weight();
      }
      break;
    case Policy::kSparse:
      json["strategy"] = "sparse";
      json["sparsity"] = policy.sparse().sparsity();
      break;
    case Policy::kOneBit:
      json["strategy"] = "onebit";
      break;
    case Policy::kAuto:
      json["strategy"] = "auto";
      json["relative_error"] = policy.auto_().relative_error();
      break;
    default:
      json["strategy"] = "lossless";
  }
  return json;
}

template <typename Policy>
std::string StrategyText(const Policy& policy) {
  const Json json = StrategyJson(policy);
  std::string text = json["strategy"];
  for (const auto& [key, value] : json.items()) {
    if (key == "strategy") continue;
    absl::StrAppend(&text, ", ", absl::StrReplaceAll(key, {{"_", " "}}), " ",
                    Number(value.template get<double>()));
  }
  return text;
}

}  // namespace

std::string PolicyText(const v1::FidelityPolicy& policy) {
  std::string text = StrategyText(policy);
  for (const v1::FidelityPolicy::Rule& rule : policy.rules()) {
    absl::StrAppend(&text, "; ", rule.name_pattern(), " ", StrategyText(rule));
  }
  if (policy.effort() == v1::FidelityPolicy::MAX) absl::StrAppend(&text, "; effort max");
  return text;
}

bool AllowsLoss(const v1::FidelityPolicy& policy) {
  const bool by_default = policy.policy_case() != v1::FidelityPolicy::kLossless &&
                          policy.policy_case() != v1::FidelityPolicy::POLICY_NOT_SET;
  return by_default || std::any_of(policy.rules().begin(), policy.rules().end(), [](const auto& r) {
           return r.policy_case() != v1::FidelityPolicy::Rule::kLossless;
         });
}

std::string FidelityWord(const v1::Model& model) {
  const v1::FidelityOutcome& outcome = model.fidelity_outcome();
  if (outcome.lossy()) return absl::StrCat("lossy ", Number(outcome.relative_error()));
  const bool is_open = model.state() != v1::Model::READY && AllowsLoss(model.fidelity());
  return is_open ? "lossy?" : "lossless";
}

std::string OutcomeText(const v1::Model& model) {
  const v1::FidelityOutcome& outcome = model.fidelity_outcome();
  if (model.state() != v1::Model::READY) return "";
  if (!outcome.lossy()) {
    return outcome.note().empty() ? "lossless" : absl::StrCat("lossless: ", outcome.note());
  }
  return absl::StrCat("lossy, relative error ", Number(outcome.relative_error()),
                      ", max abs error ", Number(outcome.max_absolute_error()), ", ",
                      outcome.lossy_tensor_count(),
                      outcome.lossy_tensor_count() == 1 ? " tensor" : " tensors");
}

Json PolicyJson(const v1::FidelityPolicy& policy) {
  Json json = StrategyJson(policy);
  json["rules"] = Json::array();
  for (const v1::FidelityPolicy::Rule& rule : policy.rules()) {
    Json added = StrategyJson(rule);
    added["name_pattern"] = rule.name_pattern();
    json["rules"].push_back(std::move(added));
  }
  json["effort"] = policy.effort() == v1::FidelityPolicy::MAX ? "max" : "fast";
  return json;
}

Json OutcomeJson(const v1::FidelityOutcome& outcome) {
  return {{"lossy", outcome.lossy()},
          {"relative_error", outcome.relative_error()},
          {"max_absolute_error", outcome.max_absolute_error()},
          {"lossy_tensor_count", outcome.lossy_tensor_count()},
          {"uploaded_digest", outcome.uploaded_digest()},
          {"note", outcome.note()}};
}

Json TensorFidelityJson(const v1::TensorStorage& storage) {
  if (!storage.has_fidelity()) return nullptr;
  return {{"strategy", StrategyWord(storage.fidelity().strategy())},
          {"relative_error", storage.fidelity().relative_error()},
          {"max_absolute_error", storage.fidelity().max_absolute_error()}};
}

std::string StrategyWord(v1::TensorFidelity::Strategy strategy) {
  if (strategy == v1::TensorFidelity::ONE_BIT) return "onebit";  // as push takes it
  return absl::StrReplaceAll(absl::AsciiStrToLower(v1::TensorFidelity::Strategy_Name(strategy)),
                             {{"_", "-"}});
}

std::string TensorErrorTable(std::vector<v1::Tensor> tensors, size_t limit) {
  tensors.erase(std::remove_if(tensors.begin(), tensors.end(),
                               [](const auto& t) { return !t.storage().has_fidelity(); }),
                tensors.end());
  std::stable_sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return a.storage().fidelity().relative_error() > b.storage().fidelity().relative_error();
  });
  const size_t shown = limit == 0 ? tensors.size() : std::min(limit, tensors.size());
  Table table({{"TENSOR"},
               {"STRATEGY"},
               {"RELATIVE ERROR", Align::kRight},
               {"MAX ABS ERROR", Align::kRight},
               {"STORED", Align::kRight},
               {"RATIO", Align::kRight}});
  for (size_t i = 0; i < shown; ++i) {
    const v1::TensorStorage& storage = tensors[i].storage();
    table.AddRow({tensors[i].name(), StrategyWord(storage.fidelity().strategy()),
                  Number(storage.fidelity().relative_error()),
                  Number(storage.fidelity().max_absolute_error()),
                  HumanBytes(storage.stored_bytes()),
                  HumanRatio(tensors[i].size_bytes(), storage.stored_bytes())});
  }
  std::string text = table.Render();
  if (shown < tensors.size()) {
    absl::StrAppend(&text, "and ", tensors.size() - shown, " more: see --all\n");
  }
  return text;
}

}  // namespace wdelta
