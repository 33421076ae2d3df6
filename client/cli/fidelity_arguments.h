// How `push` says what may happen to the bits of a model.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "wdelta/v1/models.pb.h"

namespace wdelta {

struct FidelityArguments {
  std::string fidelity;
  std::optional<double> relative_error;
  std::optional<double> bits_per_weight;
  std::optional<double> sparsity;
  std::vector<std::string> tensors;  // PATTERN=STRATEGY[:VALUE]
  std::string effort;

  void AddTo(CLI::App& command);
  // INVALID_ARGUMENT for an unknown word, a malformed rule, and a figure that the
  // strategy does not take. Ranges are checked by the server.
  absl::StatusOr<v1::FidelityPolicy> ToPolicy() const;
};

// `fast`, `max`; empty: unspecified.
absl::StatusOr<v1::FidelityPolicy::Effort> ParseEffort(absl::string_view word);

}  // namespace wdelta
