#include "storage/engine/jobs/rewrite.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/encoding/delta_encoder.h"
#include "storage/engine/encoding/stream_digests.h"
#include "storage/engine/jobs/stored_delta.h"
#include "storage/engine/records/confirm_version.h"
#include "storage/engine/records/content_index.h"
#include "storage/engine/records/records.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;

absl::StatusOr<ParentChoice> Choose(const JobDependencies& deps, const ModelRecord& model,
                                    const ContentSourcePtr& target, const AvoidedModels* avoided,
                                    const std::function<absl::Status()>& advance) {
  ParentChoiceInput input;
  input.model = model;
  input.target = target;
  input.policy = deps.policy;
  input.advance = advance;
  input.avoided = avoided;
  input.keeps_parent = model.outcome().lossy() && avoided == nullptr;
  WDELTA_ASSIGN_OR_RETURN(input.has_dependents,
                          AnyWithPrefix(*deps.catalog, keys::EncodedOnPrefix(model.id())));
  WDELTA_ASSIGN_OR_RETURN(input.stream_digests, DigestsOfStreams(*target, deps.pool, advance));
  return ChooseParent({deps.catalog, deps.models, deps.reader, deps.pool}, input);
}

// Whether the model has, or had and has not freed, a form of this owner.
bool IsFormOf(const ModelRecord& model, const std::string& owner) {
  const auto& retired = model.retired_owners();
  return model.delta_owner() == owner ||
         std::find(retired.begin(), retired.end(), owner) != retired.end();
}

class Rewrite {
 public:
  Rewrite(const JobDependencies& deps, JobContext& context, const RewriteRequest& request)
      : deps_(deps), context_(context), request_(request) {}

  absl::StatusOr<RewriteOutcome> Run() {
    WDELTA_ASSIGN_OR_RETURN(old_, LoadModel());
    RewriteOutcome outcome;
    outcome.former_bytes = old_.record.stored_bytes();
    // Committed before, and interrupted before the job's end was seen.
    if (IsFormOf(old_.record, request_.owner)) return outcome;
    // The new form may be as large as the model, and stands beside the old one.
    WDELTA_ASSIGN_OR_RETURN(const DiskGuard::Reservation space,
                            deps_.disk->Reserve(old_.record.raw_bytes(),
                                                absl::StrCat("model '", old_.record.name(), "'")));
    WDELTA_RETURN_IF_ERROR(deps_.claims->ReleaseAll(request_.owner));
    input_.target = request_.source;
    if (input_.target == nullptr) {
      WDELTA_ASSIGN_OR_RETURN(input_.target, deps_.reader->Open(old_.record));
    }
    input_.effort = request_.effort;
    WDELTA_ASSIGN_OR_RETURN(choice_, Choose(deps_, old_.record, input_.target, request_.avoided,
                                            [this] { return context_.Advance(0); }));
    input_.parent = choice_.source;
    input_.parent_streams = choice_.parent_streams;
    input_.advance = [this](uint64_t bytes) { return context_.Advance(bytes); };
    DeltaPieceWriter pieces(request_.owner, deps_.claims);
    input_.mark_payload = [&] { return pieces.Mark(); };
    WDELTA_ASSIGN_OR_RETURN(file_, EncodeDelta(input_, deps_.pool, [&](absl::string_view bytes) {
                              return pieces.Append(bytes);
                            }));
    WDELTA_RETURN_IF_ERROR(pieces.Finish());
    outcome.stored_bytes = pieces.size_bytes();
    outcome.new_bytes = pieces.new_bytes();
    if (!request_.is_small_enough(outcome)) {
      WDELTA_RETURN_IF_ERROR(deps_.claims->ReleaseAll(request_.owner));
      return outcome;
    }
    ModelRecord rewritten = old_.record;
    SetDelta(pieces, file_, choice_.parent, rewritten);
    WDELTA_RETURN_IF_ERROR(VerifyDelta(deps_, context_, rewritten));
    WDELTA_RETURN_IF_ERROR(RetryOnConflict([&] { return TryCommit(rewritten); }));
    outcome.is_rewritten = true;
    return outcome;
  }

 private:
  absl::StatusOr<Model> LoadModel() {
    WDELTA_ASSIGN_OR_RETURN(std::optional<Model> model, deps_.models->GetById(request_.model_id));
    if (!model.has_value() || model->record.state() != ModelRecord::READY) {
      return MakeError(absl::StatusCode::kCancelled, "MODEL_DELETED", "the model was deleted");
    }
    return *std::move(model);
  }

  absl::Status TryCommit(const ModelRecord& rewritten) {
    WDELTA_ASSIGN_OR_RETURN(const Model current, LoadModel());
    if (current.record.delta_digest() != old_.record.delta_digest()) {
      return MakeError(absl::StatusCode::kUnavailable, "MODEL_REPACKED",
                       absl::StrCat("model '", old_.record.name(), "' was repacked meanwhile"));
    }
    // Labels and whatever else may have changed meanwhile stay.
    ModelRecord record = current.record;
    record.set_stored_bytes(rewritten.stored_bytes());
    record.set_delta_digest(rewritten.delta_digest());
    record.set_delta_owner(rewritten.delta_owner());
    record.set_storage_parent_id(rewritten.storage_parent_id());
    record.set_storage_depth(rewritten.storage_depth());
    record.set_fetch_cost(rewritten.fetch_cost());
    // Measured against everything that is declared, or it says nothing of it.
    if (request_.avoided == nullptr) *record.mutable_lineage_check() = choice_.lineage_check;
    WDELTA_RETURN_IF_ERROR(CheckDependents(current.record, record));
    *record.mutable_delta_pieces() = rewritten.delta_pieces();
    const std::string former_owner = current.record.delta_owner();
    record.add_retired_owners(former_owner.empty() ? record.id() : former_owner);
    Commit commit;
    const std::string key = keys::Model(record.id());
    commit.Require(key, current.version).Write(key, record.SerializeAsString());
    if (record.storage_parent_id() != current.record.storage_parent_id()) {
      JobQueue* const reclaims = request_.avoided == nullptr ? deps_.queue : nullptr;
      WDELTA_RETURN_IF_ERROR(LeaveStorageParent(*deps_.models, reclaims, current.record, commit));
      WDELTA_RETURN_IF_ERROR(HoldStorageParent(*deps_.models, record, commit));
    }
    choice_.record.set_choose_time_us(ToMicros(deps_.clock->Now()));
    commit.Write(keys::StorageChoice(record.id()), choice_.record.SerializeAsString());
    WDELTA_RETURN_IF_ERROR(PutInIndex(*deps_.catalog, record, file_, commit));
    WDELTA_RETURN_IF_ERROR(request_.add_to_commit(record, commit));
    return deps_.catalog->Apply(commit).status();
  }

  // A model that others have come to be encoded against must not become deeper.
  absl::Status CheckDependents(const ModelRecord& current, const ModelRecord& rewritten) {
    if (rewritten.storage_depth() <= current.storage_depth()) return absl::OkStatus();
    WDELTA_ASSIGN_OR_RETURN(const bool has_dependents,
                            AnyWithPrefix(*deps_.catalog, keys::EncodedOnPrefix(current.id())));
    if (!has_dependents) return absl::OkStatus();
    return MakeError(absl::StatusCode::kUnavailable, "MODEL_NEEDED",
                     absl::StrCat("model '", current.name(),
                                  "' has become the storage parent of another meanwhile"));
  }

  const JobDependencies& deps_;
  JobContext& context_;
  const RewriteRequest& request_;
  Model old_;
  DeltaEncoderInput input_;
  ParentChoice choice_;
  WdeltaFile file_;  // without its payloads
};

}  // namespace

absl::StatusOr<RewriteOutcome> RewriteModel(const JobDependencies& deps, JobContext& context,
                                            const RewriteRequest& request) {
  return Rewrite(deps, context, request).Run();
}

absl::Status ReleaseFailedForm(const JobDependencies& deps, const std::string& model_id,
                               const std::string& owner) {
  bool is_form = false;
  const absl::Status read = RetryOnConflict([&]() -> absl::Status {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, deps.models->GetById(model_id));
    is_form = model.has_value() && IsFormOf(model->record, owner);
    const uint64_t version = model.has_value() ? model->version : 0;
    return is_form ? absl::OkStatus()
                   : ConfirmVersion(*deps.catalog, keys::Model(model_id), version);
  });
  WDELTA_RETURN_IF_ERROR(read);
  return is_form ? absl::OkStatus() : deps.claims->ReleaseAll(owner);
}

absl::StatusOr<ParentChoice> ChooseForRewrite(const JobDependencies& deps, const ModelRecord& model,
                                              const AvoidedModels* avoided,
                                              const std::function<absl::Status()>& advance) {
  WDELTA_ASSIGN_OR_RETURN(const ContentSourcePtr target, deps.reader->Open(model));
  return Choose(deps, model, target, avoided, advance);
}

}  // namespace wdelta
