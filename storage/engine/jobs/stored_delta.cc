#include "storage/engine/jobs/stored_delta.h"

#include <optional>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/encoding/fetch_cost.h"

namespace wdelta {

using store::v1::ModelRecord;

void SetDelta(const DeltaPieceWriter& pieces, const WdeltaFile& file, const StorageParent& parent,
              ModelRecord& model) {
  model.set_stored_bytes(pieces.size_bytes());
  model.set_delta_digest(pieces.digest().ToBytes());
  model.set_delta_owner(pieces.owner());
  model.set_storage_parent_id(parent.model_id);
  model.set_storage_depth(parent.depth);
  model.set_fetch_cost(NeedsOf(file).FetchCost(parent.fetch_cost));
  model.clear_delta_pieces();
  for (const store::v1::DeltaPiece& piece : pieces.pieces()) *model.add_delta_pieces() = piece;
}

absl::Status VerifyDelta(const JobDependencies& deps, JobContext& context,
                         const ModelRecord& model) {
  WDELTA_ASSIGN_OR_RETURN(
      const ContentSourcePtr stored,
      deps.reader->OpenWdelta(deps.reader->OpenDelta(model), model.storage_parent_id()));
  const std::vector<CheckpointFile>& files = stored->checkpoint().files;
  for (uint32_t i = 0; i < files.size(); ++i) {
    const auto cursor = deps.reader->NewCursor(
        stored, RangesOfFile(stored->checkpoint(), i, 0, files[i].size_bytes));
    Sha256Hasher hasher;
    while (true) {
      WDELTA_ASSIGN_OR_RETURN(const std::optional<CursorPiece> piece, cursor->Next());
      if (!piece.has_value()) break;
      hasher.Update(piece->data);
      WDELTA_RETURN_IF_ERROR(context.Advance(0));
    }
    const std::string expected = model.files(static_cast<int>(i)).sha256();
    if (hasher.Current().ToBytes() == expected) continue;
    return MakeError(
        absl::StatusCode::kDataLoss, "VERIFICATION_FAILED",
        absl::StrCat(files[i].path, ": expected SHA-256 ", absl::BytesToHexString(expected),
                     " after decoding, found ", hasher.Current().ToHex()));
  }
  return absl::OkStatus();
}

absl::Status HoldStorageParent(Models& models, const ModelRecord& model, Commit& commit) {
  if (model.storage_parent_id().empty()) return absl::OkStatus();
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> parent,
                          models.GetById(model.storage_parent_id()));
  if (!parent.has_value() || parent->record.delta_pieces_size() == 0) {
    return MakeError(absl::StatusCode::kUnavailable, "PARENT_GONE",
                     "the storage parent was deleted meanwhile");
  }
  if (parent->record.storage_depth() >= model.storage_depth()) {
    return MakeError(absl::StatusCode::kUnavailable, "PARENT_MOVED",
                     "the storage parent has become deeper meanwhile");
  }
  const std::string key = keys::Model(model.storage_parent_id());
  commit.Require(key, parent->version).Write(key, parent->record.SerializeAsString());
  commit.Write(keys::EncodedOn(model.storage_parent_id(), model.id()), "");
  return absl::OkStatus();
}

absl::Status LeaveStorageParent(Models& models, JobQueue* jobs, const ModelRecord& model,
                                Commit& commit) {
  const std::string& parent_id = model.storage_parent_id();
  if (parent_id.empty()) return absl::OkStatus();
  commit.Erase(keys::EncodedOn(parent_id, model.id()));
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> parent, models.GetById(parent_id));
  if (!parent.has_value()) return absl::OkStatus();
  commit.Require(keys::Model(parent_id), parent->version);
  if (jobs != nullptr && parent->record.state() == ModelRecord::DELETED) {
    jobs->AddTo(commit, store::v1::JobRecord::RECLAIM, parent->record);
  }
  return absl::OkStatus();
}

}  // namespace wdelta
