#include "storage/engine/repack.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/delta_encoder.h"
#include "storage/engine/records.h"
#include "storage/engine/storage_plan.h"
#include "storage/engine/stored_delta.h"

namespace wdelta {
namespace {

using store::v1::JobRecord;
using store::v1::ModelRecord;

class Repack {
 public:
  Repack(const JobRunner::Dependencies& deps, JobContext& context)
      : deps_(deps),
        context_(context),
        owner_(RepackOwner(context.job().record.model_id(), context.job().record.id())) {}

  absl::Status Run() {
    WDELTA_ASSIGN_OR_RETURN(old_, LoadModel());
    // Committed before, and interrupted before the job's end was seen.
    if (old_.record.delta_owner() == owner_) return absl::OkStatus();
    WDELTA_RETURN_IF_ERROR(deps_.claims->ReleaseAll(owner_));
    WDELTA_ASSIGN_OR_RETURN(input_.target, deps_.reader->Open(old_.record));
    input_.effort = static_cast<Effort>(context_.job().record.effort());
    WDELTA_ASSIGN_OR_RETURN(const StorageParent parent, ChooseParent());
    WDELTA_RETURN_IF_ERROR(SetParent(parent));
    input_.advance = [this](uint64_t bytes) { return context_.Advance(bytes); };
    DeltaPieceWriter pieces(owner_, deps_.claims);
    WDELTA_RETURN_IF_ERROR(EncodeDelta(input_, deps_.pool, [&](absl::string_view bytes) {
                             return pieces.Append(bytes);
                           }).status());
    WDELTA_RETURN_IF_ERROR(pieces.Finish());
    if (pieces.size_bytes() >= old_.record.stored_bytes()) {
      return deps_.claims->ReleaseAll(owner_);
    }
    ModelRecord repacked = old_.record;
    SetDelta(pieces, parent, repacked);
    WDELTA_RETURN_IF_ERROR(VerifyDelta(deps_, context_, repacked));
    return RetryOnConflict([&] { return TryCommit(repacked); });
  }

 private:
  absl::StatusOr<Model> LoadModel() {
    WDELTA_ASSIGN_OR_RETURN(std::optional<Model> model,
                            deps_.models->GetById(context_.job().record.model_id()));
    if (!model.has_value() || model->record.state() != ModelRecord::READY) {
      return absl::CancelledError("the model was deleted");
    }
    return *std::move(model);
  }

  absl::Status SetParent(const StorageParent& parent) {
    input_.parent = nullptr;
    input_.parent_streams.assign(input_.target->checkpoint().streams.size(), std::nullopt);
    if (parent.model_id.empty()) return absl::OkStatus();
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model,
                            deps_.models->GetById(parent.model_id));
    if (!model.has_value()) return absl::AbortedError("the storage parent is gone");
    WDELTA_ASSIGN_OR_RETURN(input_.parent, deps_.reader->Open(model->record));
    input_.parent_streams = MatchStreams(input_.target->checkpoint(), input_.parent->checkpoint());
    return absl::OkStatus();
  }

  // The candidate with the least estimate; the present one where it is as good.
  absl::StatusOr<StorageParent> ChooseParent() {
    WDELTA_ASSIGN_OR_RETURN(std::vector<StorageParent> candidates,
                            RepackCandidates(*deps_.models, old_.record));
    // What was lost against the present parent costs much to spell out against another.
    if (old_.record.outcome().lossy() || candidates.size() == 1) return candidates[0];
    input_.advance = [this](uint64_t) { return context_.Advance(0); };
    StorageParent best;
    std::optional<uint64_t> best_bytes;
    for (const StorageParent& candidate : candidates) {
      WDELTA_RETURN_IF_ERROR(SetParent(candidate));
      WDELTA_ASSIGN_OR_RETURN(const uint64_t bytes, EstimateDeltaBytes(input_, deps_.pool));
      if (best_bytes.has_value() && bytes >= *best_bytes) continue;
      best = candidate;
      best_bytes = bytes;
    }
    return best;
  }

  absl::Status TryCommit(const ModelRecord& repacked) {
    WDELTA_ASSIGN_OR_RETURN(const Model current, LoadModel());
    if (current.record.delta_digest() != old_.record.delta_digest()) {
      return MakeError(absl::StatusCode::kUnavailable, "MODEL_REPACKED",
                       absl::StrCat("model '", old_.record.name(), "' was repacked meanwhile"));
    }
    WDELTA_ASSIGN_OR_RETURN(const Job job, deps_.queue->Get(context_.job().record.id()));
    // Labels and whatever else may have changed meanwhile stay.
    ModelRecord record = current.record;
    record.set_stored_bytes(repacked.stored_bytes());
    record.set_delta_digest(repacked.delta_digest());
    record.set_delta_owner(repacked.delta_owner());
    record.set_storage_parent_id(repacked.storage_parent_id());
    record.set_storage_depth(repacked.storage_depth());
    *record.mutable_delta_pieces() = repacked.delta_pieces();
    const std::string former_owner = current.record.delta_owner();
    record.add_retired_owners(former_owner.empty() ? record.id() : former_owner);
    Commit commit;
    const std::string key = keys::Model(record.id());
    commit.Require(key, current.version).Write(key, record.SerializeAsString());
    if (record.storage_parent_id() != current.record.storage_parent_id()) {
      WDELTA_RETURN_IF_ERROR(LeaveStorageParent(current.record, commit));
      WDELTA_RETURN_IF_ERROR(HoldStorageParent(*deps_.models, record, commit));
    }
    deps_.queue->AddTo(commit, JobRecord::RECLAIM, record);
    deps_.queue->AddEnd(commit, job, JobRecord::SUCCEEDED, "");
    return deps_.catalog->Apply(commit).status();
  }

  // The former storage parent may have been kept for this model alone.
  absl::Status LeaveStorageParent(const ModelRecord& model, Commit& commit) {
    const std::string& parent_id = model.storage_parent_id();
    if (parent_id.empty()) return absl::OkStatus();
    commit.Erase(keys::EncodedOn(parent_id, model.id()));
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> parent, deps_.models->GetById(parent_id));
    if (!parent.has_value() || parent->record.state() != ModelRecord::DELETED) {
      return absl::OkStatus();
    }
    // Its own reclaim may be looking at this very edge.
    const std::string key = keys::Model(parent_id);
    commit.Require(key, parent->version).Write(key, parent->record.SerializeAsString());
    deps_.queue->AddTo(commit, JobRecord::RECLAIM, parent->record);
    return absl::OkStatus();
  }

  const JobRunner::Dependencies& deps_;
  JobContext& context_;
  const std::string owner_;
  Model old_;
  DeltaEncoderInput input_;
};

}  // namespace

absl::Status RunRepack(const JobRunner::Dependencies& deps, JobContext& context) {
  return Repack(deps, context).Run();
}

}  // namespace wdelta
