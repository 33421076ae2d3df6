#include "storage/engine/parents/parent_candidates.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/models/lineage_check.h"
#include "storage/engine/records/content_index.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;
using store::v1::ParentEdge;
using store::v1::StorageCandidate;

// The last parts of the newest keys with a prefix.
absl::StatusOr<std::vector<std::string>> NewestSuffixes(Catalog& catalog,
                                                        const std::string& prefix) {
  WDELTA_ASSIGN_OR_RETURN(const ScanPage page, catalog.Scan({prefix, PrefixEnd(prefix),
                                                             limits::kMaxCandidatesOfAKind, true}));
  std::vector<std::string> suffixes;
  for (const Record& record : page.records) suffixes.push_back(record.key.substr(prefix.size()));
  return suffixes;
}

}  // namespace

ParentCandidates::ParentCandidates(Catalog* catalog, Models* models, const ModelRecord& model,
                                   const Checkpoint& checkpoint,
                                   const std::vector<Digest>& stream_digests,
                                   const AvoidedModels* avoided)
    : catalog_(catalog),
      models_(models),
      model_(model),
      checkpoint_(checkpoint),
      stream_digests_(stream_digests),
      avoided_(avoided),
      digest_(ModelDigest(checkpoint.files).ToBytes()),
      seen_({model.id()}) {}

absl::StatusOr<std::vector<ParentCandidate>> ParentCandidates::Gather() {
  std::vector<ParentCandidate> out = {{StorageCandidate::ALONE, {}}};
  WDELTA_RETURN_IF_ERROR(Add(model_.storage_parent_id(), StorageCandidate::CURRENT, out));
  for (const ParentEdge& edge : model_.parents()) {
    WDELTA_RETURN_IF_ERROR(Add(edge.model_id(), StorageCandidate::DECLARED, out));
  }
  for (const ParentEdge& edge : model_.parents()) {
    WDELTA_RETURN_IF_ERROR(AddChain(edge.model_id(), out));
  }
  WDELTA_RETURN_IF_ERROR(AddRoots(out));
  for (const ParentEdge& edge : model_.parents()) {
    WDELTA_RETURN_IF_ERROR(AddSiblings(edge.model_id(), out));
  }
  WDELTA_RETURN_IF_ERROR(AddSharers(out));
  WDELTA_ASSIGN_OR_RETURN(
      const std::vector<std::string> alike,
      ModelsOfLayout(*catalog_, LayoutDigest(checkpoint_), limits::kMaxCandidatesOfAKind));
  for (const std::string& id : alike) {
    WDELTA_RETURN_IF_ERROR(Add(id, StorageCandidate::SIMILAR, out));
  }
  return out;
}

absl::StatusOr<std::vector<ParentCandidate>> ParentCandidates::EncodedOn(const ModelRecord& model) {
  std::vector<ParentCandidate> out;
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> ids,
                          NewestSuffixes(*catalog_, keys::EncodedOnPrefix(model.id())));
  for (const std::string& id : ids) {
    WDELTA_RETURN_IF_ERROR(Add(id, StorageCandidate::SIMILAR, out));
  }
  return out;
}

absl::Status ParentCandidates::Add(const std::string& id, Source source,
                                   std::vector<ParentCandidate>& out) {
  if (id.empty() || seen_.size() > limits::kMaxParentCandidates) return absl::OkStatus();
  if (!IsWithinLimit(id)) return absl::OkStatus();
  if (std::find(seen_.begin(), seen_.end(), id) != seen_.end()) return absl::OkStatus();
  WDELTA_ASSIGN_OR_RETURN(std::optional<Model> found, models_->GetById(id));
  if (!found.has_value() || found->record.delta_pieces_size() == 0) return absl::OkStatus();
  ModelRecord& record = found->record;
  // What is deleted is kept for those who need it already: not to be held by others.
  const bool is_needed = avoided_ == nullptr && (source == StorageCandidate::CURRENT ||
                                                 source == StorageCandidate::DECLARED ||
                                                 source == StorageCandidate::CHAIN);
  if (record.state() == ModelRecord::DELETED && !is_needed) return absl::OkStatus();
  if (avoided_ != nullptr && avoided_->doomed.contains(id)) return absl::OkStatus();
  if (record.digest() == digest_ && source != StorageCandidate::CURRENT) return absl::OkStatus();
  WDELTA_ASSIGN_OR_RETURN(const bool is_ruled_out, IsRuledOut(id));
  if (is_ruled_out) return absl::OkStatus();
  seen_.push_back(id);
  out.push_back({source, std::move(record)});
  return absl::OkStatus();
}

bool ParentCandidates::IsWithinLimit(const std::string& id) const {
  if (!model_.has_storage_limit()) return true;
  const auto& allowed = model_.storage_limit().model_ids();
  return std::find(allowed.begin(), allowed.end(), id) != allowed.end();
}

absl::Status ParentCandidates::AddChain(std::string id, std::vector<ParentCandidate>& out) {
  for (uint32_t i = 0; i <= limits::kMaxStorageDepth && !id.empty(); ++i) {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, models_->GetById(id));
    if (!model.has_value()) break;
    id = model->record.storage_parent_id();
    WDELTA_RETURN_IF_ERROR(Add(id, StorageCandidate::CHAIN, out));
  }
  return absl::OkStatus();
}

absl::Status ParentCandidates::AddSiblings(const std::string& parent_id,
                                           std::vector<ParentCandidate>& out) {
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> ids,
                          NewestSuffixes(*catalog_, keys::ChildPrefix(parent_id)));
  for (const std::string& id : ids) {
    WDELTA_RETURN_IF_ERROR(Add(id, StorageCandidate::SIBLING, out));
  }
  return absl::OkStatus();
}

absl::Status ParentCandidates::AddRoots(std::vector<ParentCandidate>& out) {
  WDELTA_ASSIGN_OR_RETURN(const std::vector<DeclaredAncestor> ancestors,
                          DeclaredAncestors(*models_, model_));
  for (const DeclaredAncestor& ancestor : ancestors) {
    if (ancestor.is_root) WDELTA_RETURN_IF_ERROR(Add(ancestor.id, StorageCandidate::ROOT, out));
  }
  return absl::OkStatus();
}

absl::Status ParentCandidates::AddSharers(std::vector<ParentCandidate>& out) {
  std::map<std::string, uint64_t> shared_bytes;
  for (const uint32_t stream : LargestTensors(checkpoint_, limits::kMaxTensorsLookedUp)) {
    WDELTA_ASSIGN_OR_RETURN(
        const std::vector<TensorPlace> places,
        PlacesOfTensor(*catalog_, stream_digests_[stream], limits::kMaxCandidatesOfAKind));
    for (const TensorPlace& place : places) {
      shared_bytes[place.model_id] += checkpoint_.streams[stream].tensor.size_bytes;
    }
  }
  std::vector<std::pair<uint64_t, std::string>> most;
  for (const auto& [id, bytes] : shared_bytes) most.emplace_back(bytes, id);
  std::sort(most.rbegin(), most.rend());
  if (most.size() > limits::kMaxCandidatesOfAKind) most.resize(limits::kMaxCandidatesOfAKind);
  for (const auto& [bytes, id] : most) {
    WDELTA_RETURN_IF_ERROR(Add(id, StorageCandidate::SIMILAR, out));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> ParentCandidates::IsRuledOut(std::string id) {
  for (uint32_t i = 0; i <= limits::kMaxStorageDepth + 1 && !id.empty(); ++i) {
    if (id == model_.id()) return true;
    if (avoided_ != nullptr) {
      if (avoided_->ids.contains(id)) return true;
      const auto moved = avoided_->moved.find(id);
      if (moved != avoided_->moved.end()) {
        id = moved->second;
        continue;
      }
    }
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, models_->GetById(id));
    if (!model.has_value()) return false;
    id = model->record.storage_parent_id();
  }
  return !id.empty();  // deeper than any chain: not to be built upon
}

absl::Status AwaitDeclaredParents(Models& models, JobQueue& jobs, const ModelRecord& model) {
  for (const ParentEdge& edge : model.parents()) {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> parent, models.GetById(edge.model_id()));
    if (!parent.has_value()) continue;
    const ModelRecord& record = parent->record;
    if (record.state() != ModelRecord::STAGED && record.state() != ModelRecord::IMPORTING) continue;
    const absl::StatusOr<Job> job = jobs.Get(record.job_id());
    if (job.ok() && !HasEnded(job->record)) {
      return MakeError(absl::StatusCode::kUnavailable, "PARENT_NOT_READY",
                       absl::StrCat("parent '", record.name(), "' is not compressed yet"));
    }
  }
  return absl::OkStatus();
}

}  // namespace wdelta
