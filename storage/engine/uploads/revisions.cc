#include "storage/engine/uploads/revisions.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/content/delta_pieces.h"
#include "storage/engine/encoding/fetch_cost.h"
#include "storage/engine/jobs/stored_delta.h"
#include "storage/engine/models/new_model.h"
#include "storage/engine/records/confirm_version.h"
#include "storage/engine/records/content_index.h"
#include "storage/engine/records/model_files.h"
#include "storage/engine/records/records.h"
#include "storage/engine/uploads/index_check.h"
#include "storage/engine/uploads/parent_references.h"
#include "storage/tensor/checkpoint.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;
using store::v1::StorageCandidate;

absl::Status CheckFile(const RevisedFile& file, const ModelRecord& before) {
  WDELTA_RETURN_IF_ERROR(ValidateCheckpointPath(file.path));
  const bool is_safetensors = IsSafetensorsPath(file.path);
  if (!file.kept.has_value()) {
    if (!is_safetensors) return absl::OkStatus();
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_PATH",
                     absl::StrCat(file.path, ": expected a side file, found safetensors"),
                     {{"file", file.path}});
  }
  if (*file.kept >= static_cast<uint32_t>(before.files_size())) {
    return absl::InvalidArgumentError(absl::StrCat(file.path, ": there is no such file to keep"));
  }
  const store::v1::FileRecord& kept = before.files(static_cast<int>(*file.kept));
  const bool is_same =
      kept.sha256() == file.sha256.ToBytes() && kept.size_bytes() == file.size_bytes;
  if (is_same && kept.is_safetensors() == is_safetensors) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_PATH",
                   absl::StrCat(file.path, ": expected a file like '", kept.path(), "'"),
                   {{"file", file.path}});
}

// A stored file whose reader is asked now and then whether to go on. One thread at a time.
class CheckedFile final : public RandomAccessFile {
 public:
  CheckedFile(std::shared_ptr<const RandomAccessFile> file, std::function<absl::Status()> check)
      : file_(std::move(file)), check_(std::move(check)) {}

  absl::Status Read(uint64_t offset, char* destination, size_t size) const override {
    unchecked_bytes_ += size;
    if (unchecked_bytes_ >= limits::kCopyStepBytes && check_ != nullptr) {
      unchecked_bytes_ = 0;
      WDELTA_RETURN_IF_ERROR(check_());
    }
    return file_->Read(offset, destination, size);
  }
  absl::StatusOr<uint64_t> SizeBytes() const override { return file_->SizeBytes(); }

 private:
  const std::shared_ptr<const RandomAccessFile> file_;
  const std::function<absl::Status()> check_;
  mutable uint64_t unchecked_bytes_ = 0;
};

// Of a model of the storage chain.
bool IsWithoutModel(const absl::Status& status) {
  const std::string reason = ErrorReason(status);
  return reason == "MODEL_NOT_FOUND" || reason == "STORAGE_PARENT_MISSING";
}

// What `wdelta explain` tells.
StorageCandidate TwinOf(const ModelRecord& before) {
  StorageCandidate twin;
  twin.set_model_id(before.id());
  twin.set_name(before.name());
  twin.set_source(StorageCandidate::TWIN);
  twin.set_estimated_bytes(before.stored_bytes());
  twin.set_depth(before.storage_depth());
  twin.set_fetch_cost(FetchCostOf(before));
  return twin;
}

}  // namespace

absl::StatusOr<ModelRecord> Revisions::Build(const RevisionParams& params,
                                             const ModelRecord& before) {
  WDELTA_RETURN_IF_ERROR(ValidateLabels(params.labels));
  WDELTA_RETURN_IF_ERROR(ValidateClientMetadata(params.metadata));
  if (params.files.empty() || params.files.size() > limits::kMaxEntriesPerUpload) {
    return MakeError(absl::StatusCode::kInvalidArgument, "TOO_MANY_ENTRIES",
                     absl::StrCat("files: expected 1 to ", limits::kMaxEntriesPerUpload, ", found ",
                                  params.files.size()));
  }
  std::vector<CheckpointFile> files;
  uint64_t raw_bytes = 0;
  for (const RevisedFile& file : params.files) {
    WDELTA_RETURN_IF_ERROR(CheckFile(file, before));
    files.push_back({file.path, file.size_bytes, file.sha256, IsSafetensorsPath(file.path)});
    raw_bytes += file.size_bytes;
  }
  ModelRecord model;
  model.set_id(deps_.ids->Next());
  model.set_name(before.name());
  model.set_state(ModelRecord::READY);
  WDELTA_ASSIGN_OR_RETURN(const auto parents,
                          ResolveParents(*deps_.models, params.parents, nullptr));
  for (const store::v1::ParentEdge& parent : parents) *model.add_parents() = parent;
  model.mutable_labels()->insert(params.labels.begin(), params.labels.end());
  model.mutable_metadata()->insert(params.metadata.begin(), params.metadata.end());
  SetFiles(files, model);
  model.set_raw_bytes(raw_bytes);
  model.set_digest(ModelDigest(files).ToBytes());
  // What was lost stays lost, and what was asked for then is why.
  if (before.has_fidelity()) *model.mutable_fidelity() = before.fidelity();
  if (before.has_outcome()) *model.mutable_outcome() = before.outcome();
  const bool lost_nothing = before.outcome().uploaded_digest() == before.digest();
  if (lost_nothing) model.mutable_outcome()->set_uploaded_digest(model.digest());
  model.set_create_time_us(ToMicros(deps_.clock->Now()));
  return model;
}

absl::StatusOr<WdeltaFile> Revisions::Store(const RevisionParams& params, const HeldDelta& before,
                                            ModelRecord& model) {
  WDELTA_ASSIGN_OR_RETURN(const auto stored, WdeltaReader::Open(std::make_shared<const CheckedFile>(
                                                 before.file, params.check)));
  WDELTA_ASSIGN_OR_RETURN(const DiskGuard::Reservation space,
                          deps_.disk->Reserve(NewBytesOf(stored->file(), params.files),
                                              absl::StrCat("model '", model.name(), "'")));
  DeltaPieceWriter pieces(model.id(), deps_.claims);
  WDELTA_ASSIGN_OR_RETURN(WdeltaFile file, WriteRevisedDelta(*stored, params.files, pieces));
  SetDelta(pieces, file, {before.model.storage_parent_id(), before.model.storage_depth(), 0, ""},
           model);
  model.set_fetch_cost(FetchCostOf(before.model));
  std::vector<StreamInfo> streams;
  for (const WdeltaStream& stream : file.streams) streams.push_back(stream.info);
  CountTensors(streams, model);
  return file;
}

absl::Status Revisions::Verify(const RevisionParams& params, const ModelRecord& model) {
  const absl::StatusOr<ContentSourcePtr> opened =
      deps_.reader->OpenWdelta(deps_.reader->OpenDelta(model), model.storage_parent_id());
  if (IsWithoutModel(opened.status())) {
    return MakeError(
        absl::StatusCode::kUnavailable, "PARENT_GONE",
        absl::StrCat("the storage parent was deleted meanwhile: ", opened.status().message()));
  }
  WDELTA_RETURN_IF_ERROR(opened.status());
  const ContentSourcePtr& source = *opened;
  const Checkpoint& checkpoint = source->checkpoint();
  // What is kept are the bytes that were verified when they were stored.
  for (uint32_t i = 0; i < params.files.size(); ++i) {
    const RevisedFile& file = params.files[i];
    if (file.kept.has_value()) continue;
    const auto cursor =
        deps_.reader->NewCursor(source, RangesOfFile(checkpoint, i, 0, file.size_bytes));
    Sha256Hasher hasher;
    while (true) {
      WDELTA_ASSIGN_OR_RETURN(const std::optional<CursorPiece> piece, cursor->Next());
      if (!piece.has_value()) break;
      hasher.Update(piece->data);
    }
    if (hasher.Current() == file.sha256) continue;
    return MakeError(absl::StatusCode::kDataLoss, "VERIFICATION_FAILED",
                     absl::StrCat(file.path, ": expected SHA-256 ", file.sha256.ToHex(),
                                  " after decoding, found ", hasher.Current().ToHex()));
  }
  return CheckIndexes(*source);
}

absl::StatusOr<Model> Revisions::Commit(const RevisionParams& params, const ModelRecord& before,
                                        const WdeltaFile& file, ModelRecord model) {
  store::v1::StorageChoiceRecord choice;
  *choice.add_candidates() = TwinOf(before);
  return RetryOnConflict([&]() -> absl::StatusOr<Model> {
    model.set_ready_time_us(ToMicros(deps_.clock->Now()));
    choice.set_choose_time_us(model.ready_time_us());
    wdelta::Commit commit;
    WDELTA_RETURN_IF_ERROR(AddNewModel(*deps_.catalog, *deps_.models, model, commit));
    // The commit requires that the name's newest version is the one that is seen here.
    if (params.check != nullptr) WDELTA_RETURN_IF_ERROR(params.check());
    WDELTA_RETURN_IF_ERROR(HoldStorageParent(*deps_.models, model, commit));
    commit.Write(keys::StorageChoice(model.id()), choice.SerializeAsString());
    WDELTA_RETURN_IF_ERROR(PutInIndex(*deps_.catalog, model, file, commit));
    WDELTA_ASSIGN_OR_RETURN(const uint64_t version, deps_.catalog->Apply(commit));
    return Model{model, version};
  });
}

void Revisions::Abandon(const std::string& model_id) {
  // The commit may have been applied though its answer was lost, unseen as yet. What cannot be
  // given up here is swept later.
  if (!ConfirmVersion(*deps_.catalog, keys::Model(model_id), 0).ok()) return;
  deps_.claims->ReleaseAll(model_id).IgnoreError();
}

absl::StatusOr<Model> Revisions::Make(const RevisionParams& params) {
  // Held open, so that nothing of it goes meanwhile.
  WDELTA_ASSIGN_OR_RETURN(const HeldDelta before, deps_.reader->HoldDelta(params.model_id));
  WDELTA_ASSIGN_OR_RETURN(ModelRecord model, Build(params, before.model));
  const std::string id = model.id();
  const std::shared_ptr<const void> hold = deps_.reader->HoldInUse(id);
  // What `before` is stored against may be needed by nobody else once it is stored anew.
  const std::string& parent_id = before.model.storage_parent_id();
  const auto parent_hold = parent_id.empty() ? nullptr : deps_.reader->HoldInUse(parent_id);
  const auto make = [&]() -> absl::StatusOr<Model> {
    WDELTA_ASSIGN_OR_RETURN(const WdeltaFile file, Store(params, before, model));
    WDELTA_RETURN_IF_ERROR(Verify(params, model));
    return Commit(params, before.model, file, std::move(model));
  };
  absl::StatusOr<Model> made = make();
  if (!made.ok()) Abandon(id);
  return made;
}

}  // namespace wdelta
