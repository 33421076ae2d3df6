// Fidelity policies and outcomes: stored records as messages of the public API, and
// back. Pure functions; any thread.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/wdelta/wdelta_file.h"
#include "store/v1/records.pb.h"
#include "wdelta/v1/models.pb.h"

namespace wdelta {

v1::FidelityPolicy ToProto(const store::v1::FidelityPolicy& policy);
v1::FidelityOutcome ToProto(const store::v1::FidelityOutcome& outcome);
v1::TensorStorage ToProto(const WdeltaFile& file, uint32_t stream);

// INVALID_ARGUMENT (`BAD_FIDELITY`) for a rule without a strategy and for a strategy,
// field or effort that this server does not know. The engine checks the numbers.
absl::StatusOr<store::v1::FidelityPolicy> FromProto(const v1::FidelityPolicy& policy);
absl::StatusOr<store::v1::Effort> EffortFromProto(absl::string_view field,
                                                  v1::FidelityPolicy::Effort effort);

}  // namespace wdelta
