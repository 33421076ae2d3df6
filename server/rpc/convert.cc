#include "server/rpc/convert.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/timestamp.pb.h"
#include "server/rpc/fidelity_convert.h"
#include "server/rpc/page_token.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

using store::v1::JobRecord;
using store::v1::ModelRecord;
using store::v1::ParentEdge;
using store::v1::StorageCandidate;
using store::v1::TagChangeRecord;
using store::v1::UploadRecord;

// Public and stored enums have equal numbers, so that a conversion is a cast. A
// stored value without a public counterpart (a deleted model) is never served.
static_assert(static_cast<int>(v1::Model::STAGED) == ModelRecord::STAGED &&
              static_cast<int>(v1::Model::READY) == ModelRecord::READY &&
              static_cast<int>(v1::Model::FAILED) == ModelRecord::FAILED &&
              static_cast<int>(v1::Model::IMPORTING) == ModelRecord::IMPORTING);
static_assert(static_cast<int>(v1::Parent::FINE_TUNE) == ParentEdge::FINE_TUNE &&
              static_cast<int>(v1::Parent::MERGE) == ParentEdge::MERGE &&
              static_cast<int>(v1::Parent::QUANTIZATION) == ParentEdge::QUANTIZATION &&
              static_cast<int>(v1::Parent::DISTILLATION) == ParentEdge::DISTILLATION &&
              static_cast<int>(v1::Parent::CONTINUED_TRAINING) == ParentEdge::CONTINUED_TRAINING &&
              static_cast<int>(v1::Parent::OTHER) == ParentEdge::OTHER);
static_assert(static_cast<int>(v1::Job::INGEST) == JobRecord::INGEST &&
              static_cast<int>(v1::Job::IMPORT) == JobRecord::IMPORT &&
              static_cast<int>(v1::Job::RECLAIM) == JobRecord::RECLAIM &&
              static_cast<int>(v1::Job::REPACK) == JobRecord::REPACK &&
              static_cast<int>(v1::Job::GC) == JobRecord::GC &&
              static_cast<int>(v1::Job::MERGE) == JobRecord::MERGE &&
              static_cast<int>(v1::Job::SCRUB) == JobRecord::SCRUB);
static_assert(static_cast<int>(v1::Job::PENDING) == JobRecord::PENDING &&
              static_cast<int>(v1::Job::RUNNING) == JobRecord::RUNNING &&
              static_cast<int>(v1::Job::SUCCEEDED) == JobRecord::SUCCEEDED &&
              static_cast<int>(v1::Job::FAILED) == JobRecord::FAILED &&
              static_cast<int>(v1::Job::CANCELLED) == JobRecord::CANCELLED);
static_assert(static_cast<int>(v1::Upload::OPEN) == UploadRecord::OPEN &&
              static_cast<int>(v1::Upload::FINISHED) == UploadRecord::FINISHED &&
              static_cast<int>(v1::Upload::CANCELLED) == UploadRecord::CANCELLED);
static_assert(static_cast<int>(v1::StorageCandidate::ALONE) == StorageCandidate::ALONE &&
              static_cast<int>(v1::StorageCandidate::DECLARED) == StorageCandidate::DECLARED &&
              static_cast<int>(v1::StorageCandidate::CHAIN) == StorageCandidate::CHAIN &&
              static_cast<int>(v1::StorageCandidate::SIBLING) == StorageCandidate::SIBLING &&
              static_cast<int>(v1::StorageCandidate::ROOT) == StorageCandidate::ROOT &&
              static_cast<int>(v1::StorageCandidate::SIMILAR) == StorageCandidate::SIMILAR &&
              static_cast<int>(v1::StorageCandidate::CURRENT) == StorageCandidate::CURRENT &&
              static_cast<int>(v1::StorageCandidate::TWIN) == StorageCandidate::TWIN &&
              static_cast<int>(v1::StorageCandidate::TOO_DEEP) == StorageCandidate::TOO_DEEP &&
              static_cast<int>(v1::StorageCandidate::TOO_COSTLY) == StorageCandidate::TOO_COSTLY &&
              static_cast<int>(v1::StorageCandidate::UNREADABLE) == StorageCandidate::UNREADABLE &&
              static_cast<int>(v1::StorageCandidate::NOT_FOR_LOSS) ==
                  StorageCandidate::NOT_FOR_LOSS);
static_assert(static_cast<int>(v1::TagChange::SET) == TagChangeRecord::SET &&
              static_cast<int>(v1::TagChange::TAG_DELETED) == TagChangeRecord::TAG_DELETED &&
              static_cast<int>(v1::TagChange::MODEL_DELETED) == TagChangeRecord::MODEL_DELETED);
static_assert(static_cast<int>(v1::CHECKPOINT) == UploadRecord::CHECKPOINT &&
              static_cast<int>(v1::WDELTA) == UploadRecord::WDELTA);

// Rounded up, for times of models are whole microseconds.
absl::StatusOr<int64_t> MicrosOf(absl::string_view field, const google::protobuf::Timestamp& time) {
  constexpr int64_t kMinSeconds = -62'135'596'800;  // year 1
  constexpr int64_t kMaxSeconds = 253'402'300'799;  // year 9999
  constexpr int64_t kMicrosPerSecond = 1'000'000;
  constexpr int32_t kNanosPerSecond = 1'000'000'000;
  if (time.seconds() < kMinSeconds || time.seconds() > kMaxSeconds || time.nanos() < 0 ||
      time.nanos() >= kNanosPerSecond) {
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_TIME",
                     absl::StrCat(field, ": expected a time of the years 1 to 9999, found ",
                                  time.seconds(), " s and ", time.nanos(), " ns"),
                     {{"field", std::string(field)}});
  }
  return time.seconds() * kMicrosPerSecond + (time.nanos() + 999) / 1000;
}

absl::Status CheckRange(absl::string_view what, const ByteRange& range) {
  if (range.min <= range.max) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_RANGE",
                   absl::StrCat("min_", what, ": expected at most max_", what, " (", range.max,
                                "), found ", range.min),
                   {{"field", absl::StrCat("min_", what)}});
}

std::string HexOf(absl::string_view digest) { return absl::BytesToHexString(digest); }

std::string PrefixedDigest(absl::string_view digest) {
  return digest.empty() ? "" : absl::StrCat("sha256:", HexOf(digest));
}

template <typename Edges, typename Parents>
void AddParents(const Edges& edges, Parents* parents) {
  for (const ParentEdge& edge : edges) {
    v1::Parent* parent = parents->Add();
    parent->set_model(IdReference(edge.model_id()));
    parent->set_name(edge.name());
    parent->set_relation(static_cast<v1::Parent::Relation>(edge.relation()));
    *parent->mutable_metadata() = edge.metadata();
  }
}

void AddFiles(const ModelRecord& record, v1::Model& model) {
  for (const store::v1::FileRecord& file : record.files()) {
    v1::File* added = model.add_files();
    added->set_path(file.path());
    added->set_size_bytes(file.size_bytes());
    added->set_sha256(HexOf(file.sha256()));
    added->set_is_safetensors(file.is_safetensors());
  }
}

v1::StoragePlan StoragePlanOf(const ModelRecord& record) {
  v1::StoragePlan plan;
  plan.set_parent(IdReference(record.storage_parent_id()));
  plan.set_depth(record.storage_depth());
  plan.set_delta_digest(PrefixedDigest(record.delta_digest()));
  plan.set_fetch_cost(record.fetch_cost());
  return plan;
}

v1::LineageCheck ToProto(const store::v1::LineageCheck& check) {
  v1::LineageCheck out;
  for (const std::string& id : check.doubtful_parent_ids()) {
    out.add_doubtful_parents(IdReference(id));
  }
  out.set_suggested_parent(IdReference(check.suggested_parent_id()));
  out.set_suggested_parent_name(check.suggested_parent_name());
  return out;
}

}  // namespace

void SetTime(int64_t unix_us, google::protobuf::Timestamp* time) {
  constexpr int64_t kMicrosPerSecond = 1'000'000;
  time->set_seconds(unix_us / kMicrosPerSecond);
  time->set_nanos(static_cast<int32_t>(unix_us % kMicrosPerSecond) * 1000);
}

std::string IdReference(absl::string_view id) { return id.empty() ? "" : absl::StrCat("id:", id); }

v1::Model ToProto(const Model& model, FileList file_list) {
  const ModelRecord& record = model.record;
  v1::Model out;
  out.set_id(record.id());
  out.set_name(record.name());
  if (record.state() != ModelRecord::IMPORTING) out.set_digest(PrefixedDigest(record.digest()));
  out.set_state(static_cast<v1::Model::State>(record.state()));
  AddParents(record.parents(), out.mutable_parents());
  *out.mutable_labels() = record.labels();
  *out.mutable_metadata() = record.metadata();
  *out.mutable_fidelity() = ToProto(record.fidelity());
  out.set_raw_bytes(record.raw_bytes());
  out.set_stored_bytes(record.stored_bytes());
  out.set_file_count(record.files_size());
  out.set_tensor_count(record.tensor_count());
  out.set_parameter_count(record.parameter_count());
  SetTime(record.create_time_us(), out.mutable_create_time());
  if (record.state() == ModelRecord::READY) {
    SetTime(record.ready_time_us(), out.mutable_ready_time());
    *out.mutable_storage() = StoragePlanOf(record);
    *out.mutable_lineage_check() = ToProto(record.lineage_check());
    *out.mutable_fidelity_outcome() = ToProto(record.outcome());
  }
  if (file_list == FileList::kInclude) AddFiles(record, out);
  out.set_job(record.job_id());
  out.set_repack_job(record.repack_job_id());
  out.set_error(record.error());
  out.set_etag(absl::StrCat(model.version));
  return out;
}

v1::Model TombstoneToProto(const Model& model) {
  v1::Model out;
  out.set_id(model.record.id());
  out.set_name(model.record.name());
  AddParents(model.record.parents(), out.mutable_parents());
  return out;
}

v1::StorageExplanation ToProto(const Model& model, const store::v1::StorageChoiceRecord& choice) {
  const ModelRecord& record = model.record;
  v1::StorageExplanation out;
  out.set_model(IdReference(record.id()));
  out.set_name(record.name());
  for (const StorageCandidate& candidate : choice.candidates()) {
    v1::StorageCandidate* added = out.add_candidates();
    added->set_model(IdReference(candidate.model_id()));
    added->set_name(candidate.name());
    added->set_source(static_cast<v1::StorageCandidate::Source>(candidate.source()));
    added->set_estimated_bytes(candidate.estimated_bytes());
    added->set_depth(candidate.depth());
    added->set_fetch_cost(candidate.fetch_cost());
    added->set_refusal(static_cast<v1::StorageCandidate::Refusal>(candidate.refusal()));
  }
  out.set_chosen(choice.chosen());
  out.set_max_chain_depth(choice.max_chain_depth());
  out.set_max_fetch_cost(choice.max_fetch_cost());
  if (choice.choose_time_us() > 0) SetTime(choice.choose_time_us(), out.mutable_choose_time());
  *out.mutable_storage() = StoragePlanOf(record);
  out.set_raw_bytes(record.raw_bytes());
  out.set_stored_bytes(record.stored_bytes());
  *out.mutable_lineage_check() = ToProto(record.lineage_check());
  return out;
}

v1::Upload ToProto(const UploadView& upload, EntryList entry_list) {
  const UploadRecord& record = upload.record;
  v1::Upload out;
  out.set_id(record.id());
  out.set_name(record.name());
  out.set_state(static_cast<v1::Upload::State>(record.state()));
  out.set_kind(static_cast<v1::UploadKind>(record.kind()));
  AddParents(record.parents(), out.mutable_parents());
  SetTime(record.create_time_us(), out.mutable_create_time());
  out.set_model(IdReference(record.model_id()));
  if (upload.expire_time != absl::InfiniteFuture()) {
    SetTime(absl::ToUnixMicros(upload.expire_time), out.mutable_expire_time());
  }
  out.set_expired(record.expired());
  if (entry_list == EntryList::kOmit) return out;
  for (int i = 0; i < record.entries_size(); ++i) {
    const store::v1::UploadEntry& entry = record.entries(i);
    v1::Entry* added = out.add_entries();
    added->set_path(entry.path());
    added->set_size_bytes(entry.size_bytes());
    added->set_sha256(HexOf(entry.sha256()));
    const auto index = static_cast<size_t>(i);
    if (index < upload.durable_bytes.size()) {
      added->set_durable_bytes(upload.durable_bytes[index]);
    }
  }
  return out;
}

v1::Tag ToProto(const Tag& tag) {
  v1::Tag out;
  out.set_name(tag.name);
  out.set_tag(tag.tag);
  out.set_model(IdReference(tag.record.model_id()));
  SetTime(tag.record.update_time_us(), out.mutable_update_time());
  return out;
}

v1::TagChange ToProto(const TagChange& change) {
  const TagChangeRecord& record = change.record;
  v1::TagChange out;
  out.set_from_model(IdReference(record.from_model_id()));
  out.set_from_name(record.from_name());
  out.set_to_model(IdReference(record.to_model_id()));
  out.set_to_name(record.to_name());
  SetTime(record.time_us(), out.mutable_change_time());
  out.set_reason(static_cast<v1::TagChange::Reason>(record.reason()));
  out.set_author(record.author());
  return out;
}

v1::Tensor ToProto(const Checkpoint& checkpoint, uint32_t stream, const WdeltaFile* stored) {
  const StreamInfo& info = checkpoint.streams[stream];
  const TensorInfo& tensor = info.tensor;
  v1::Tensor out;
  out.set_name(tensor.name);
  out.set_dtype(std::string(DTypeName(tensor.dtype)));
  out.mutable_shape()->Add(tensor.shape.begin(), tensor.shape.end());
  out.set_file(checkpoint.files[info.file_index].path);
  out.set_file_offset_bytes(tensor.offset_bytes);
  out.set_size_bytes(tensor.size_bytes);
  if (stored != nullptr) *out.mutable_storage() = ToProto(*stored, stream);
  return out;
}

StringMap ToStringMap(const google::protobuf::Map<std::string, std::string>& map) {
  return StringMap(map.begin(), map.end());
}

absl::StatusOr<StartUploadParams> FromProto(const v1::StartUploadRequest& request) {
  StartUploadParams params;
  params.request_id = request.request_id();
  params.name = request.name();
  params.labels = ToStringMap(request.labels());
  params.metadata = ToStringMap(request.metadata());
  params.new_version = request.new_version();
  WDELTA_ASSIGN_OR_RETURN(params.fidelity, FromProto(request.fidelity()));
  if (request.kind() != v1::UPLOAD_KIND_UNSPECIFIED) {
    if (!v1::UploadKind_IsValid(request.kind())) {
      return MakeError(absl::StatusCode::kInvalidArgument, "BAD_KIND",
                       absl::StrCat("kind: expected CHECKPOINT or WDELTA, found ",
                                    static_cast<int>(request.kind())));
    }
    params.kind = static_cast<UploadRecord::Kind>(request.kind());
  }
  for (const v1::Parent& parent : request.parents()) {
    if (!v1::Parent::Relation_IsValid(parent.relation())) {
      return MakeError(absl::StatusCode::kInvalidArgument, "BAD_RELATION",
                       absl::StrCat("parent '", parent.model(), "': unknown relation ",
                                    static_cast<int>(parent.relation())));
    }
    params.parents.push_back({parent.model(), static_cast<ParentEdge::Relation>(parent.relation()),
                              ToStringMap(parent.metadata())});
  }
  v1::StartUploadRequest anonymous = request;
  anonymous.clear_request_id();
  params.fingerprint = Digest::Of(DeterministicBytes(anonymous));
  return params;
}

absl::StatusOr<ModelFilter> FromProto(const v1::ListModelsRequest& request) {
  ModelFilter filter;
  filter.labels = ToStringMap(request.labels());
  filter.name_pattern = request.name_pattern();
  for (const int state : request.states()) {
    if (state == v1::Model::STATE_UNSPECIFIED || !v1::Model::State_IsValid(state)) {
      return MakeError(absl::StatusCode::kInvalidArgument, "BAD_STATE",
                       absl::StrCat("states: expected states of a model, found ", state));
    }
    filter.states.push_back(static_cast<ModelRecord::State>(state));
  }
  if (request.has_created_after()) {
    WDELTA_ASSIGN_OR_RETURN(filter.created_from_us,
                            MicrosOf("created_after", request.created_after()));
  }
  if (request.has_created_before()) {
    WDELTA_ASSIGN_OR_RETURN(filter.created_before_us,
                            MicrosOf("created_before", request.created_before()));
  }
  if (request.has_min_raw_bytes()) filter.raw_bytes.min = request.min_raw_bytes();
  if (request.has_max_raw_bytes()) filter.raw_bytes.max = request.max_raw_bytes();
  WDELTA_RETURN_IF_ERROR(CheckRange("raw_bytes", filter.raw_bytes));
  if (request.has_min_stored_bytes() || request.has_max_stored_bytes()) {
    filter.stored_bytes.emplace();
    if (request.has_min_stored_bytes()) filter.stored_bytes->min = request.min_stored_bytes();
    if (request.has_max_stored_bytes()) filter.stored_bytes->max = request.max_stored_bytes();
    WDELTA_RETURN_IF_ERROR(CheckRange("stored_bytes", *filter.stored_bytes));
  }
  return filter;
}

}  // namespace wdelta
