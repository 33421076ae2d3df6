// What an upload asks of the bits of its tensors. Pure functions; any thread.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "storage/codec/lossy.h"
#include "store/v1/records.pb.h"

namespace wdelta {

// INVALID_ARGUMENT (`BAD_FIDELITY`), naming field or rule, expected and found: a number
// out of range or missing, two targets, an empty pattern, too many rules.
absl::Status ValidateFidelity(const store::v1::FidelityPolicy& policy);

// Of a tensor: that of the first rule that matches its name. The policy must be valid.
TensorPolicy PolicyOf(const store::v1::FidelityPolicy& policy, absl::string_view tensor_name);

// Whether any tensor at all may be stored with loss.
bool AllowsLoss(const store::v1::FidelityPolicy& policy);

// Whether the bytes that a model will serve once it is READY may differ from those that
// were uploaded: nothing serves it until then. Without a parent nothing is lost.
bool AwaitsLoss(const store::v1::ModelRecord& model);

}  // namespace wdelta
