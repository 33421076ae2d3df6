#include "storage/engine/repack.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/content_index.h"
#include "storage/engine/delta_encoder.h"
#include "storage/engine/parent_choice.h"
#include "storage/engine/records.h"
#include "storage/engine/stored_delta.h"
#include "storage/engine/stream_digests.h"

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
    WDELTA_RETURN_IF_ERROR(Choose());
    input_.advance = [this](uint64_t bytes) { return context_.Advance(bytes); };
    DeltaPieceWriter pieces(owner_, deps_.claims);
    WDELTA_ASSIGN_OR_RETURN(file_, EncodeDelta(input_, deps_.pool, [&](absl::string_view bytes) {
                              return pieces.Append(bytes);
                            }));
    WDELTA_RETURN_IF_ERROR(pieces.Finish());
    if (pieces.size_bytes() >= old_.record.stored_bytes()) {
      return deps_.claims->ReleaseAll(owner_);
    }
    ModelRecord repacked = old_.record;
    SetDelta(pieces, file_, choice_.parent, repacked);
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

  absl::Status Choose() {
    ParentChoiceInput input;
    input.model = old_.record;
    input.target = input_.target;
    input.policy = deps_.policy;
    input.advance = [this] { return context_.Advance(0); };
    input.keeps_parent = old_.record.outcome().lossy();
    WDELTA_ASSIGN_OR_RETURN(input.has_dependents,
                            AnyWithPrefix(*deps_.catalog, keys::EncodedOnPrefix(old_.record.id())));
    WDELTA_ASSIGN_OR_RETURN(input.stream_digests,
                            DigestsOfStreams(*input.target, deps_.pool, input.advance));
    WDELTA_ASSIGN_OR_RETURN(
        choice_, ChooseParent({deps_.catalog, deps_.models, deps_.reader, deps_.pool}, input));
    input_.parent = choice_.source;
    input_.parent_streams = choice_.parent_streams;
    return absl::OkStatus();
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
    record.set_fetch_cost(repacked.fetch_cost());
    *record.mutable_lineage_check() = choice_.lineage_check;
    WDELTA_RETURN_IF_ERROR(CheckDependents(current.record, record));
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
    choice_.record.set_choose_time_us(ToMicros(deps_.clock->Now()));
    commit.Write(keys::StorageChoice(record.id()), choice_.record.SerializeAsString());
    WDELTA_RETURN_IF_ERROR(PutInIndex(*deps_.catalog, record, file_, commit));
    deps_.queue->AddTo(commit, JobRecord::RECLAIM, record);
    deps_.queue->AddEnd(commit, job, JobRecord::SUCCEEDED, "");
    return deps_.catalog->Apply(commit).status();
  }

  // A model that others have come to be encoded against must not become deeper.
  absl::Status CheckDependents(const ModelRecord& current, const ModelRecord& repacked) {
    if (repacked.storage_depth() <= current.storage_depth()) return absl::OkStatus();
    WDELTA_ASSIGN_OR_RETURN(const bool has_dependents,
                            AnyWithPrefix(*deps_.catalog, keys::EncodedOnPrefix(current.id())));
    if (!has_dependents) return absl::OkStatus();
    return MakeError(absl::StatusCode::kUnavailable, "MODEL_NEEDED",
                     absl::StrCat("model '", current.name(),
                                  "' has become the storage parent of another meanwhile"));
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
  ParentChoice choice_;
  WdeltaFile file_;  // without its payloads
};

}  // namespace

absl::Status RunRepack(const JobRunner::Dependencies& deps, JobContext& context) {
  return Repack(deps, context).Run();
}

}  // namespace wdelta
