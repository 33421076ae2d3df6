// The end of an upload: checks, then one commit that makes it a model.
#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/content/staged_source.h"
#include "storage/engine/jobs/v1_import.h"
#include "storage/engine/models/new_model.h"
#include "storage/engine/records/fidelity.h"
#include "storage/engine/records/model_files.h"
#include "storage/engine/records/records.h"
#include "storage/engine/uploads/index_check.h"
#include "storage/engine/uploads/parent_references.h"
#include "storage/engine/uploads/upload_guard.h"
#include "storage/engine/uploads/uploads.h"
#include "storage/wdelta/v1/v1_reader.h"
#include "storage/wdelta/wdelta_reader.h"

namespace wdelta {
namespace {

using store::v1::JobRecord;
using store::v1::ModelRecord;
using store::v1::ParentEdge;
using store::v1::UploadRecord;

// Takes the model from a staged `.wdelta`: its files, and the storage parent that it
// names by digest. The digest stays empty until a job has verified it.
absl::Status FillFromWdelta(std::shared_ptr<const RandomAccessFile> file, Models& models,
                            const NameCheck& check_name, ModelRecord& model) {
  WDELTA_ASSIGN_OR_RETURN(const bool is_v1, IsV1File(*file));
  if (is_v1) {
    std::vector<StreamInfo> streams;
    WDELTA_RETURN_IF_ERROR(FillFromV1(std::move(file), streams, model));
    CountTensors(streams, model);
    model.set_state(ModelRecord::IMPORTING);
    return absl::OkStatus();
  }
  WDELTA_ASSIGN_OR_RETURN(const auto reader, WdeltaReader::Open(std::move(file)));
  const WdeltaFile& wdelta = reader->file();
  SetFiles(wdelta.files, model);
  uint64_t raw_bytes = 0;
  for (const CheckpointFile& described : wdelta.files) raw_bytes += described.size_bytes;
  model.set_raw_bytes(raw_bytes);
  std::vector<StreamInfo> streams;
  for (const WdeltaStream& stream : wdelta.streams) streams.push_back(stream.info);
  CountTensors(streams, model);
  model.clear_digest();
  model.set_state(ModelRecord::IMPORTING);
  if (!wdelta.parent_digest.has_value()) return absl::OkStatus();
  const std::string reference = absl::StrCat("sha256:", wdelta.parent_digest->ToHex());
  const absl::StatusOr<Model> parent = models.Resolve(reference);
  if (!parent.ok()) return Annotate(parent.status(), "parent of the .wdelta");
  const absl::Status named = CheckFound(check_name, reference, parent->record.name());
  if (!named.ok()) return Annotate(named, "parent of the .wdelta");
  model.set_storage_parent_id(parent->record.id());
  if (model.parents_size() == 0) {
    ParentEdge* edge = model.add_parents();
    edge->set_model_id(parent->record.id());
    edge->set_name(parent->record.name());
    edge->set_relation(ParentEdge::OTHER);
    (*edge->mutable_metadata())["origin"] = "storage parent of an imported .wdelta";
  }
  return absl::OkStatus();
}

// Who finishes an upload need not have begun it.
absl::Status CheckParents(const UploadRecord& upload, const NameCheck& check_name) {
  if (!MayShowParents(upload.kind(), upload.fidelity())) return absl::OkStatus();
  for (const ParentEdge& parent : upload.parents()) {
    const absl::Status named =
        CheckFound(check_name, absl::StrCat("id:", parent.model_id()), parent.name());
    if (!named.ok()) return Annotate(named, "parent");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelRecord> Uploads::BuildModel(const UploadRecord& upload,
                                                const StringMap& sha256_by_path,
                                                const NameCheck& check_name) {
  if (upload.entries_size() == 0) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "NO_ENTRIES",
                     absl::StrCat("upload '", upload.id(), "' has no entries"));
  }
  std::vector<CheckpointFile> files;
  std::vector<uint32_t> entry_of_file;
  for (int i = 0; i < upload.entries_size(); ++i) {
    const store::v1::UploadEntry& entry = upload.entries(i);
    WDELTA_ASSIGN_OR_RETURN(const uint64_t durable_bytes,
                            deps_.staging->DurableBytes(upload.id(), i));
    if (durable_bytes != entry.size_bytes()) {
      return MakeError(absl::StatusCode::kFailedPrecondition, "ENTRY_INCOMPLETE",
                       absl::StrCat(entry.path(), ": expected ", entry.size_bytes(),
                                    " bytes, found ", durable_bytes),
                       {{"file", entry.path()}});
    }
    WDELTA_ASSIGN_OR_RETURN(const Digest digest, deps_.staging->DigestOf(upload.id(), i));
    const auto promised = sha256_by_path.find(entry.path());
    std::string declared;
    if (!entry.sha256().empty()) {
      WDELTA_ASSIGN_OR_RETURN(const Digest expected, Digest::FromBytes(entry.sha256()));
      declared = expected.ToHex();
    }
    for (const std::string& expected :
         {declared, promised == sha256_by_path.end() ? std::string() : promised->second}) {
      if (expected.empty() || expected == digest.ToHex()) continue;
      return MakeError(
          absl::StatusCode::kDataLoss, "DIGEST_MISMATCH",
          absl::StrCat(entry.path(), ": expected SHA-256 ", expected, ", found ", digest.ToHex()),
          {{"file", entry.path()}});
    }
    files.push_back({entry.path(), entry.size_bytes(), digest, IsSafetensorsPath(entry.path())});
  }
  std::vector<uint32_t> order(files.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return files[a].path < files[b].path; });
  std::vector<CheckpointFile> sorted;
  for (const uint32_t i : order) sorted.push_back(files[i]);

  ModelRecord model;
  model.set_id(deps_.ids->Next());
  model.set_name(upload.name());
  model.set_state(ModelRecord::STAGED);
  model.set_staging_id(upload.id());
  *model.mutable_parents() = upload.parents();
  *model.mutable_labels() = upload.labels();
  *model.mutable_metadata() = upload.metadata();
  if (upload.has_fidelity()) *model.mutable_fidelity() = upload.fidelity();
  model.set_create_time_us(ToMicros(deps_.clock->Now()));
  if (upload.kind() == UploadRecord::WDELTA) {
    if (files.size() != 1) {
      return MakeError(absl::StatusCode::kInvalidArgument, "NOT_ONE_WDELTA",
                       absl::StrCat("an import: expected 1 entry, found ", files.size()));
    }
    if (files[0].size_bytes == 0) {
      return MakeError(absl::StatusCode::kDataLoss, "BAD_WDELTA",
                       absl::StrCat(files[0].path, ": expected a .wdelta, found no bytes"),
                       {{"file", files[0].path}});
    }
    WDELTA_ASSIGN_OR_RETURN(auto file, deps_.staging->OpenForRead(upload.id(), 0));
    WDELTA_RETURN_IF_ERROR(
        Annotate(FillFromWdelta(std::move(file), *deps_.models, check_name, model), files[0].path));
    return model;
  }
  SetFiles(sorted, model);
  for (size_t i = 0; i < order.size(); ++i) model.mutable_files(i)->set_staged_entry(order[i]);
  uint64_t raw_bytes = 0;
  for (const CheckpointFile& file : files) {
    raw_bytes += file.size_bytes;
    if (file.is_safetensors && file.size_bytes == 0) {
      return MakeError(absl::StatusCode::kInvalidArgument, "BAD_SAFETENSORS",
                       absl::StrCat(file.path, ": expected at least 8 bytes, found 0"),
                       {{"file", file.path}});
    }
  }
  model.set_raw_bytes(raw_bytes);
  // The digest is that of what is served.
  if (!AwaitsLoss(model)) model.set_digest(ModelDigest(sorted).ToBytes());
  WDELTA_ASSIGN_OR_RETURN(const ContentSourcePtr source, deps_.staging->OpenCheckpoint(model));
  CountTensors(source->checkpoint().streams, model);
  WDELTA_RETURN_IF_ERROR(CheckIndexes(*source));
  return model;
}

absl::StatusOr<FinishedUpload> Uploads::CommitModel(const Stored& upload, ModelRecord model,
                                                    const std::function<absl::Status()>& check) {
  const bool is_import = upload.record.kind() == UploadRecord::WDELTA;
  return RetryOnConflict([&]() -> absl::StatusOr<FinishedUpload> {
    WDELTA_RETURN_IF_ERROR(
        CheckNameFree(*deps_.catalog, model.name(), upload.record.new_version()));
    Commit commit;
    model.set_job_id(
        deps_.jobs->AddTo(commit, is_import ? JobRecord::IMPORT : JobRecord::INGEST, model));
    WDELTA_RETURN_IF_ERROR(AddNewModel(*deps_.catalog, *deps_.models, model, commit));
    // The commit requires that the name's newest version is the one that is seen here.
    if (check != nullptr) WDELTA_RETURN_IF_ERROR(check());
    UploadRecord finished = upload.record;
    finished.set_state(UploadRecord::FINISHED);
    finished.set_model_id(model.id());
    commit.Require(keys::Upload(finished.id()), upload.version);
    commit.Write(keys::Upload(finished.id()), finished.SerializeAsString());
    commit.Erase(keys::OpenUpload(finished.id()));
    WDELTA_ASSIGN_OR_RETURN(const uint64_t version, deps_.catalog->Apply(commit));
    space_.GiveBackAll(finished.id());
    return FinishedUpload{{model, version}, model.job_id()};
  });
}

absl::StatusOr<FinishedUpload> Uploads::FinishedModelOf(const UploadRecord& record) {
  WDELTA_ASSIGN_OR_RETURN(Model model,
                          deps_.models->Resolve(absl::StrCat("id:", record.model_id())));
  const std::string job_id = model.record.job_id();
  return FinishedUpload{std::move(model), job_id};
}

absl::StatusOr<FinishedUpload> Uploads::Finish(const std::string& upload_id,
                                               const StringMap& sha256_by_path,
                                               const NameCheck& check_name,
                                               const std::function<absl::Status()>& check) {
  WDELTA_ASSIGN_OR_RETURN(const auto guard, FinishGuard::Enter(this, upload_id));
  WDELTA_ASSIGN_OR_RETURN(const Stored upload, Load(upload_id));
  if (upload.record.state() == UploadRecord::FINISHED) return FinishedModelOf(upload.record);
  WDELTA_RETURN_IF_ERROR(LoadOpen(upload_id).status());
  WDELTA_RETURN_IF_ERROR(CheckParents(upload.record, check_name));
  WDELTA_ASSIGN_OR_RETURN(ModelRecord model, BuildModel(upload.record, sha256_by_path, check_name));
  if (check_name != nullptr && AllowsLoss(model.fidelity())) {
    WDELTA_ASSIGN_OR_RETURN(*model.mutable_storage_limit(),
                            LimitToNamed(*deps_.models, model.parents(), check_name));
  }
  return CommitModel(upload, std::move(model), check);
}

}  // namespace wdelta
