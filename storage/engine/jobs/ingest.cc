#include "storage/engine/jobs/ingest.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/content/delta_pieces.h"
#include "storage/engine/encoding/delta_encoder.h"
#include "storage/engine/encoding/fetch_cost.h"
#include "storage/engine/encoding/lossy_plan.h"
#include "storage/engine/encoding/stream_digests.h"
#include "storage/engine/jobs/lossy_verify.h"
#include "storage/engine/jobs/stored_delta.h"
#include "storage/engine/jobs/twin.h"
#include "storage/engine/jobs/v1_import.h"
#include "storage/engine/merge/merge_target.h"
#include "storage/engine/parents/parent_candidates.h"
#include "storage/engine/parents/parent_choice.h"
#include "storage/engine/queue/merge_holds.h"
#include "storage/engine/records/content_index.h"
#include "storage/engine/records/fidelity.h"
#include "storage/engine/records/model_files.h"
#include "storage/engine/records/records.h"
#include "storage/wdelta/v1/v1_reader.h"

namespace wdelta {
namespace {

using store::v1::JobRecord;
using store::v1::ModelRecord;

class Ingest {
 public:
  Ingest(const JobDependencies& deps, JobContext& context) : deps_(deps), context_(context) {}

  absl::Status Run() {
    WDELTA_RETURN_IF_ERROR(LoadModel());
    if (model_.record.state() == ModelRecord::READY) return CommitReady();  // ran before
    // What an interrupted run left would otherwise stay claimed for ever.
    WDELTA_RETURN_IF_ERROR(deps_.claims->ReleaseAll(model_.record.id()));
    WDELTA_RETURN_IF_ERROR(AwaitDeclaredParents(*deps_.models, *deps_.queue, model_.record));
    WDELTA_ASSIGN_OR_RETURN(const bool is_shared, ShareTwin());
    if (is_shared) return CommitReady();
    // What is stored is hardly ever larger than what was uploaded.
    WDELTA_ASSIGN_OR_RETURN(
        const DiskGuard::Reservation space,
        deps_.disk->Reserve(model_.record.raw_bytes(),
                            absl::StrCat("model '", model_.record.name(), "'")));
    WDELTA_ASSIGN_OR_RETURN(const ContentSourcePtr target, OpenTarget());
    WDELTA_RETURN_IF_ERROR(Choose(target));
    DeltaPieceWriter pieces(model_.record.id(), deps_.claims);
    WDELTA_ASSIGN_OR_RETURN(file_, Encode(target, pieces));
    FillRecord(pieces);
    WDELTA_RETURN_IF_ERROR(Verify(*target));
    return CommitReady();
  }

 private:
  absl::Status LoadModel() {
    WDELTA_ASSIGN_OR_RETURN(std::optional<Model> model,
                            deps_.models->GetById(context_.job().record.model_id()));
    if (!model.has_value() || model->record.state() == ModelRecord::DELETED) {
      return absl::CancelledError("the model was deleted");
    }
    model_ = *std::move(model);
    return absl::OkStatus();
  }

  // True when a model of equal content is stored and what it has serves this one, too.
  // One that is damaged does not, nor one that was deleted a moment ago.
  absl::StatusOr<bool> ShareTwin() {
    if (context_.job().record.kind() != JobRecord::INGEST) return false;
    WDELTA_ASSIGN_OR_RETURN(
        const std::optional<Model> twin,
        FindTwin(*deps_.catalog, *deps_.models, model_.record, deps_.policy.max_chain_depth));
    if (!twin.has_value()) return false;
    const absl::Status shared = TakeDelta(twin->record);
    if (shared.ok()) return true;
    if (!absl::IsDataLoss(shared) && !absl::IsNotFound(shared)) return shared;
    WDELTA_RETURN_IF_ERROR(deps_.claims->ReleaseAll(model_.record.id()));
    choice_ = ParentChoice();
    return false;
  }

  absl::Status TakeDelta(const ModelRecord& twin) {
    // Held open, so that nothing of it goes meanwhile.
    WDELTA_ASSIGN_OR_RETURN(const ContentSourcePtr source, deps_.reader->Open(twin));
    if (source->stored() == nullptr) return absl::AbortedError("the twin is not stored any more");
    file_ = source->stored()->file();
    DeltaPieceWriter pieces(model_.record.id(), deps_.claims);
    WDELTA_RETURN_IF_ERROR(CopyDelta(*deps_.reader, twin, pieces));
    choice_.parent.model_id = twin.storage_parent_id();
    choice_.parent.depth = twin.storage_depth();
    store::v1::StorageCandidate& candidate = *choice_.record.add_candidates();
    candidate.set_model_id(twin.id());
    candidate.set_name(twin.name());
    candidate.set_source(store::v1::StorageCandidate::TWIN);
    candidate.set_estimated_bytes(twin.stored_bytes());
    candidate.set_depth(twin.storage_depth());
    candidate.set_fetch_cost(FetchCostOf(twin));
    choice_.record.set_max_chain_depth(deps_.policy.max_chain_depth);
    choice_.record.set_max_fetch_cost(deps_.policy.max_fetch_cost);
    FillRecord(pieces);
    ready_.set_fetch_cost(FetchCostOf(twin));
    return VerifyDelta(deps_, context_, ready_);
  }

  absl::StatusOr<ContentSourcePtr> OpenTarget() {
    if (context_.job().record.kind() == JobRecord::INGEST) {
      return deps_.staging->OpenCheckpoint(model_.record);
    }
    if (context_.job().record.kind() == JobRecord::MERGE) return OpenMerge();
    // The file's own parent was found at the end of the upload.
    WDELTA_ASSIGN_OR_RETURN(auto file, deps_.staging->OpenForRead(model_.record.staging_id(), 0));
    WDELTA_ASSIGN_OR_RETURN(const bool is_v1, IsV1File(*file));
    if (is_v1) return OpenV1(std::move(file));
    return deps_.reader->OpenWdelta(std::move(file), model_.record.storage_parent_id());
  }

  absl::StatusOr<ContentSourcePtr> OpenMerge() {
    const store::v1::MergeRecipe& recipe = model_.record.merge();
    WDELTA_ASSIGN_OR_RETURN(std::vector<MergeModel> models,
                            OpenMergeModels(recipe, *deps_.models, *deps_.reader));
    return OpenMerged(recipe, std::move(models), *deps_.reader, deps_.pool,
                      [this] { return context_.Advance(0); });
  }

  absl::StatusOr<ContentSourcePtr> OpenV1(std::shared_ptr<const RandomAccessFile> file) {
    std::vector<V1Parent> parents;
    for (const store::v1::ParentEdge& edge : model_.record.parents()) {
      WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> parent,
                              deps_.models->GetById(edge.model_id()));
      if (!parent.has_value()) continue;  // deleted meanwhile
      WDELTA_ASSIGN_OR_RETURN(ContentSourcePtr source, deps_.reader->Open(parent->record));
      parents.push_back({edge.name(), std::move(source)});
    }
    return OpenV1Import(std::move(file), parents, *deps_.reader,
                        [this] { return context_.Advance(0); });
  }

  absl::Status Choose(const ContentSourcePtr& target) {
    ParentChoiceInput input;
    input.model = model_.record;
    input.target = target;
    input.policy = deps_.policy;
    input.advance = [this] { return context_.Advance(0); };
    input.allows_loss = AllowsLoss(model_.record.fidelity());
    const std::shared_ptr<const WdeltaReader> imported = target->stored();
    input.keeps_parent = imported != nullptr && imported->file().fidelity.has_value();
    WDELTA_ASSIGN_OR_RETURN(input.stream_digests,
                            DigestsOfStreams(*target, deps_.pool, input.advance));
    WDELTA_ASSIGN_OR_RETURN(
        choice_, ChooseParent({deps_.catalog, deps_.models, deps_.reader, deps_.pool}, input));
    return absl::OkStatus();
  }

  absl::StatusOr<WdeltaFile> Encode(const ContentSourcePtr& target, DeltaPieceWriter& pieces) {
    DeltaEncoderInput input;
    input.target = target;
    input.parent = choice_.source;
    input.parent_streams = choice_.parent_streams;
    input.effort = static_cast<Effort>(model_.record.fidelity().effort());
    if (input.parent != nullptr && AllowsLoss(model_.record.fidelity())) {
      WDELTA_RETURN_IF_ERROR(PlanLoss(input));
      input.lossy = &lossy_plan_;
    }
    input.advance = [this](uint64_t bytes) { return context_.Advance(bytes); };
    input.mark_payload = [&] { return pieces.Mark(); };
    WDELTA_ASSIGN_OR_RETURN(WdeltaFile file,
                            EncodeDelta(input, deps_.pool, [&](absl::string_view bytes) {
                              return pieces.Append(bytes);
                            }));
    WDELTA_RETURN_IF_ERROR(pieces.Finish());
    return file;
  }

  absl::Status PlanLoss(const DeltaEncoderInput& encoder_input) {
    LossyPlanInput input;
    input.target = encoder_input.target;
    input.parent = encoder_input.parent;
    input.parent_streams = encoder_input.parent_streams;
    input.policy = model_.record.fidelity();
    input.advance = [this] { return context_.Advance(0); };
    if (choice_.parent.declared_id != choice_.parent.model_id) {
      WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> declared,
                              deps_.models->GetById(choice_.parent.declared_id));
      if (!declared.has_value()) return absl::AbortedError("the declared parent is gone");
      WDELTA_ASSIGN_OR_RETURN(input.declared, deps_.reader->Open(declared->record));
      input.declared_streams =
          MatchStreams(input.target->checkpoint(), input.declared->checkpoint());
    }
    WDELTA_ASSIGN_OR_RETURN(lossy_plan_, PlanLossy(input, deps_.pool));
    return absl::OkStatus();
  }

  absl::Status Verify(const ContentSource& target) {
    const bool may_be_lossy = AllowsLoss(model_.record.fidelity());
    if (may_be_lossy && file_.fidelity.has_value()) {
      WDELTA_ASSIGN_OR_RETURN(*ready_.mutable_outcome(),
                              VerifyLossyDelta(deps_, context_, ready_, target, lossy_plan_));
      return absl::OkStatus();
    }
    if (file_.fidelity.has_value()) *ready_.mutable_outcome() = OutcomeOf(file_);  // an import
    if (may_be_lossy) {
      ready_.mutable_outcome()->set_note(choice_.parent.declared_id.empty()
                                             ? "there is no stored parent to take deltas to"
                                             : "no tensor gains by loss");
    }
    return VerifyDelta(deps_, context_, ready_);
  }

  void FillRecord(const DeltaPieceWriter& pieces) {
    ready_ = model_.record;
    SetFiles(file_.files, ready_);
    ready_.set_digest(file_.model_digest.ToBytes());
    ready_.set_state(ModelRecord::READY);
    SetDelta(pieces, file_, choice_.parent, ready_);
    *ready_.mutable_lineage_check() = choice_.lineage_check;
    ready_.clear_staging_id();
    ready_.clear_storage_limit();
    ready_.clear_error();
  }

  absl::Status CommitReady() {
    const std::string upload_id = model_.record.staging_id();
    if (model_.record.state() != ModelRecord::READY) {
      WDELTA_RETURN_IF_ERROR(RetryOnConflict([this] { return TryCommitReady(); }));
    }
    // Not before the commit: until then these bytes are the model.
    if (upload_id.empty()) return absl::OkStatus();
    return deps_.staging->Remove(upload_id);
  }

  absl::Status TryCommitReady() {
    WDELTA_RETURN_IF_ERROR(LoadModel());
    // Labels and metadata may have changed meanwhile.
    *ready_.mutable_labels() = model_.record.labels();
    *ready_.mutable_metadata() = model_.record.metadata();
    ready_.set_ready_time_us(ToMicros(deps_.clock->Now()));
    WDELTA_ASSIGN_OR_RETURN(const Job job, context_.Held());
    const std::string key = keys::Model(ready_.id());
    const std::string hex = Digest::FromBytes(ready_.digest()).value().ToHex();
    Commit commit;
    commit.Require(key, model_.version).Write(key, ready_.SerializeAsString());
    commit.Write(keys::DigestOf(hex, ready_.id()), "");
    WDELTA_RETURN_IF_ERROR(HoldStorageParent(*deps_.models, ready_, commit));
    choice_.record.set_choose_time_us(ready_.ready_time_us());
    commit.Write(keys::StorageChoice(ready_.id()), choice_.record.SerializeAsString());
    WDELTA_RETURN_IF_ERROR(PutInIndex(*deps_.catalog, ready_, file_, commit));
    WDELTA_RETURN_IF_ERROR(ReleaseMergeInputs(*deps_.catalog, *deps_.queue, ready_, commit));
    deps_.queue->AddEnd(commit, job, JobRecord::SUCCEEDED, "");
    return deps_.catalog->Apply(commit).status();
  }

  const JobDependencies& deps_;
  JobContext& context_;
  Model model_;
  ModelRecord ready_;
  ParentChoice choice_;
  WdeltaFile file_;  // without its payloads
  LossyPlan lossy_plan_;
};

// A model that it was to be encoded against was deleted or stored anew while it ran. That is
// nobody's fault, and without that model it can go on.
bool IsOvertaken(const absl::Status& status) {
  const std::string reason = ErrorReason(status);
  return reason == "MODEL_NOT_FOUND" || reason == "PARENT_GONE" || reason == "PARENT_MOVED";
}

}  // namespace

absl::Status RunIngest(const JobDependencies& deps, JobContext& context) {
  absl::Status status;
  for (int run = 0; run < limits::kMaxOvertakenRuns; ++run) {
    context.ResetDone();
    status = Ingest(deps, context).Run();
    if (!IsOvertaken(status)) break;
  }
  return status;
}

}  // namespace wdelta
