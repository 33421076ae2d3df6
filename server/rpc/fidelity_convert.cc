#include "server/rpc/fidelity_convert.h"

#include <algorithm>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/unknown_field_set.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

using store::v1::TensorPolicy;

static_assert(
    static_cast<int>(v1::TensorFidelity::LOSSLESS) == static_cast<int>(Strategy::kLossless) + 1 &&
    static_cast<int>(v1::TensorFidelity::NEAR_LOSSLESS) ==
        static_cast<int>(Strategy::kNearLossless) + 1 &&
    static_cast<int>(v1::TensorFidelity::SPARSE) == static_cast<int>(Strategy::kSparse) + 1 &&
    static_cast<int>(v1::TensorFidelity::ONE_BIT) == static_cast<int>(Strategy::kOneBit) + 1);

absl::Status Bad(absl::string_view field, absl::string_view expected, absl::string_view found) {
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_FIDELITY",
                   absl::StrCat(field, ": expected ", expected, ", found ", found),
                   {{"field", std::string(field)}});
}

// What a later version of the API has and this one has not arrives as an unknown field.
bool HasUnknown(const google::protobuf::Message& message) {
  return !message.GetReflection()->GetUnknownFields(message).empty();
}

// `Policy`: FidelityPolicy or one of its rules, which have the same strategies.
template <typename Policy>
absl::StatusOr<TensorPolicy> PolicyFromProto(const std::string& field, const Policy& in) {
  TensorPolicy out;
  const bool has_unknown = HasUnknown(in) || HasUnknown(in.lossless()) ||
                           HasUnknown(in.near_lossless()) || HasUnknown(in.sparse()) ||
                           HasUnknown(in.one_bit()) || HasUnknown(in.auto_());
  if (has_unknown) {
    return Bad(field, "lossless, near_lossless, sparse, one_bit or auto",
               "a strategy or field that this server does not know");
  }
  switch (in.policy_case()) {
    case Policy::kLossless:
    case Policy::POLICY_NOT_SET:
      break;
    case Policy::kNearLossless:
      out.set_strategy(store::v1::NEAR_LOSSLESS);
      if (in.near_lossless().has_relative_error()) {
        out.set_relative_error(in.near_lossless().relative_error());
      }
      if (in.near_lossless().has_bits_per_weight()) {
        out.set_bits_per_weight(in.near_lossless().bits_per_weight());
      }
      break;
    case Policy::kSparse:
      out.set_strategy(store::v1::SPARSE);
      if (in.sparse().has_sparsity()) out.set_sparsity(in.sparse().sparsity());
      break;
    case Policy::kOneBit:
      out.set_strategy(store::v1::ONE_BIT);
      break;
    case Policy::kAuto:
      out.set_strategy(store::v1::AUTO);
      if (in.auto_().has_relative_error()) out.set_relative_error(in.auto_().relative_error());
      break;
  }
  return out;
}

template <typename Policy>
void PolicyToProto(const TensorPolicy& in, Policy& out) {
  switch (in.strategy()) {
    case store::v1::NEAR_LOSSLESS:
      out.mutable_near_lossless();
      if (in.has_relative_error()) {
        out.mutable_near_lossless()->set_relative_error(in.relative_error());
      }
      if (in.has_bits_per_weight()) {
        out.mutable_near_lossless()->set_bits_per_weight(in.bits_per_weight());
      }
      break;
    case store::v1::SPARSE:
      out.mutable_sparse()->set_sparsity(in.sparsity());
      break;
    case store::v1::ONE_BIT:
      out.mutable_one_bit();
      break;
    case store::v1::AUTO:
      out.mutable_auto_()->set_relative_error(in.relative_error());
      break;
    default:
      out.mutable_lossless();
  }
}

}  // namespace

v1::FidelityPolicy ToProto(const store::v1::FidelityPolicy& policy) {
  v1::FidelityPolicy out;
  PolicyToProto(policy.all(), out);
  for (const store::v1::FidelityPolicy::Rule& rule : policy.rules()) {
    v1::FidelityPolicy::Rule* added = out.add_rules();
    added->set_name_pattern(rule.name_pattern());
    PolicyToProto(rule.policy(), *added);
  }
  if (policy.effort() == store::v1::MAX) out.set_effort(v1::FidelityPolicy::MAX);
  return out;
}

v1::FidelityOutcome ToProto(const store::v1::FidelityOutcome& outcome) {
  v1::FidelityOutcome out;
  out.set_lossy(outcome.lossy());
  out.set_relative_error(outcome.relative_error());
  out.set_max_absolute_error(outcome.max_absolute_error());
  out.set_lossy_tensor_count(outcome.lossy_tensor_count());
  if (!outcome.uploaded_digest().empty()) {
    out.set_uploaded_digest(
        absl::StrCat("sha256:", absl::BytesToHexString(outcome.uploaded_digest())));
  }
  out.set_note(outcome.note());
  return out;
}

v1::TensorStorage ToProto(const WdeltaFile& file, uint32_t stream) {
  v1::TensorStorage out;
  const WdeltaStream& stored = file.streams[stream];
  out.set_stored_bytes(PayloadBytesOf(file, stored));
  if (!file.fidelity.has_value()) return out;
  const std::vector<WdeltaStreamFidelity>& records = file.fidelity->streams;
  const auto found = std::lower_bound(
      records.begin(), records.end(), stream,
      [](const WdeltaStreamFidelity& record, uint32_t index) { return record.stream < index; });
  if (found == records.end() || found->stream != stream) return out;
  v1::TensorFidelity* fidelity = out.mutable_fidelity();
  fidelity->set_strategy(
      static_cast<v1::TensorFidelity::Strategy>(static_cast<int>(found->strategy) + 1));
  fidelity->set_relative_error(found->RelativeError());
  fidelity->set_max_absolute_error(found->max_absolute_error);
  return out;
}

absl::StatusOr<store::v1::Effort> EffortFromProto(absl::string_view field,
                                                  v1::FidelityPolicy::Effort effort) {
  switch (effort) {
    case v1::FidelityPolicy::EFFORT_UNSPECIFIED:
    case v1::FidelityPolicy::FAST:
      return store::v1::FAST;
    case v1::FidelityPolicy::MAX:
      return store::v1::MAX;
    default:
      return Bad(field, "FAST or MAX", absl::StrCat(static_cast<int>(effort)));
  }
}

absl::StatusOr<store::v1::FidelityPolicy> FromProto(const v1::FidelityPolicy& policy) {
  store::v1::FidelityPolicy out;
  WDELTA_ASSIGN_OR_RETURN(*out.mutable_all(), PolicyFromProto("fidelity", policy));
  for (int i = 0; i < policy.rules_size(); ++i) {
    const v1::FidelityPolicy::Rule& rule = policy.rules(i);
    const std::string field = absl::StrCat("fidelity.rules[", i, "]");
    store::v1::FidelityPolicy::Rule* added = out.add_rules();
    added->set_name_pattern(rule.name_pattern());
    WDELTA_ASSIGN_OR_RETURN(*added->mutable_policy(), PolicyFromProto(field, rule));
    if (rule.policy_case() == v1::FidelityPolicy::Rule::POLICY_NOT_SET) {
      return Bad(field, "a strategy", "none");
    }
  }
  WDELTA_ASSIGN_OR_RETURN(const store::v1::Effort effort,
                          EffortFromProto("fidelity.effort", policy.effort()));
  out.set_effort(effort);
  return out;
}

}  // namespace wdelta
