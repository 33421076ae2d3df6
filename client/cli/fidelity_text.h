// What was asked for and what became of a model's bits, as people and programs read it.
// Pure functions.
#pragma once

#include <string>
#include <vector>

#include "client/cli/json_output.h"
#include "wdelta/v1/models.pb.h"

namespace wdelta {

// `near-lossless, relative error 0.05; *.norm lossless; effort max`.
std::string PolicyText(const v1::FidelityPolicy& policy);
// Whether a policy lets any tensor be stored with loss.
bool AllowsLoss(const v1::FidelityPolicy& policy);

// `lossless`; `lossy 0.0499`, the relative error; `lossy?` until it is known.
std::string FidelityWord(const v1::Model& model);
// `lossy, relative error 0.0499, max abs error 0.0012, 12 tensors`; empty until READY.
std::string OutcomeText(const v1::Model& model);

Json PolicyJson(const v1::FidelityPolicy& policy);
Json OutcomeJson(const v1::FidelityOutcome& outcome);
// Null for a tensor whose policy is lossless.
Json TensorFidelityJson(const v1::TensorStorage& storage);

std::string StrategyWord(v1::TensorFidelity::Strategy strategy);

// A table of the tensors that might be stored with loss, the worst relative error first;
// `limit` 0: all of them.
std::string TensorErrorTable(std::vector<v1::Tensor> tensors, size_t limit);

}  // namespace wdelta
