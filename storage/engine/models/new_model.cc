#include "storage/engine/models/new_model.h"

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/records/records.h"

namespace wdelta {

using store::v1::ModelRecord;
using store::v1::NameRecord;
using store::v1::ParentEdge;
using store::v1::RequestRecord;

absl::StatusOr<std::optional<RequestRecord>> FindRequest(Catalog& catalog,
                                                         const std::string& request_id,
                                                         const Digest& fingerprint) {
  if (request_id.size() > limits::kMaxRequestIdBytes) {
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_REQUEST_ID",
                     absl::StrCat("request_id: expected at most ", limits::kMaxRequestIdBytes,
                                  " characters, found ", request_id.size()));
  }
  if (request_id.empty()) return std::optional<RequestRecord>();
  WDELTA_ASSIGN_OR_RETURN(const auto earlier,
                          ReadRecord<RequestRecord>(catalog, keys::Request(request_id)));
  if (!earlier.has_value()) return std::optional<RequestRecord>();
  if (earlier->message.fingerprint() == fingerprint.ToBytes()) {
    return std::optional<RequestRecord>(earlier->message);
  }
  return MakeError(absl::StatusCode::kAlreadyExists, "REQUEST_ID_REUSED",
                   absl::StrCat("request_id '", request_id, "' was used for another request"));
}

absl::Status CheckNameFree(Catalog& catalog, absl::string_view name, bool new_version) {
  if (new_version) return absl::OkStatus();
  WDELTA_ASSIGN_OR_RETURN(const auto taken, ReadRecord<NameRecord>(catalog, keys::Name(name)));
  if (!taken.has_value()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kAlreadyExists, "NAME_TAKEN",
                   absl::StrCat("model name '", name,
                                "' is taken; ask for a new version of it or choose another"),
                   {{"name", std::string(name)}});
}

void CountTensors(const std::vector<StreamInfo>& streams, ModelRecord& model) {
  uint64_t tensors = 0;
  uint64_t parameters = 0;
  for (const StreamInfo& stream : streams) {
    if (stream.kind != StreamKind::kTensor) continue;
    ++tensors;
    parameters += ElementCount(stream.tensor.shape).value_or(0);
  }
  model.set_tensor_count(tensors);
  model.set_parameter_count(parameters);
}

absl::Status AddNewModel(Catalog& catalog, Models& models, ModelRecord& model, Commit& commit) {
  for (const ParentEdge& edge : model.parents()) {
    const absl::StatusOr<Model> parent = models.Resolve(absl::StrCat("id:", edge.model_id()));
    if (!parent.ok()) return Annotate(parent.status(), absl::StrCat("parent ", edge.name()));
    commit.Require(keys::Model(edge.model_id()), parent->version);
    commit.Write(keys::Child(edge.model_id(), model.id()), "");
  }
  WDELTA_ASSIGN_OR_RETURN(const auto name,
                          ReadRecord<NameRecord>(catalog, keys::Name(model.name())));
  NameRecord pointer;
  pointer.set_model_id(model.id());
  pointer.set_last_position((name.has_value() ? name->message.last_position() : 0) + 1);
  model.set_run_position(pointer.last_position());
  commit.Require(keys::Name(model.name()), name.has_value() ? name->version : 0);
  commit.Write(keys::Name(model.name()), pointer.SerializeAsString());
  commit.Write(keys::Version(model.name(), model.id()), "");
  if (!model.digest().empty()) {
    WDELTA_ASSIGN_OR_RETURN(const Digest digest, Digest::FromBytes(model.digest()));
    commit.Write(keys::DigestOf(digest.ToHex(), model.id()), "");
  }
  commit.Require(keys::Model(model.id()), 0);
  commit.Write(keys::Model(model.id()), model.SerializeAsString());
  return absl::OkStatus();
}

}  // namespace wdelta
