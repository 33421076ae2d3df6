#include "tests/simulation/checks.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/records/model_files.h"
#include "storage/engine/records/records.h"

namespace wdelta::testing {
namespace {

using store::v1::JobRecord;
using store::v1::ModelRecord;
using store::v1::UploadRecord;

constexpr uint32_t kAll = 1000;

class Checker {
 public:
  Checker(const CheckInput& input, Oracle& oracle)
      : input_(input), store_(*input.store), oracle_(oracle) {}

  void SettleModels() {
    const std::map<std::string, LiveModel> models = oracle_.models;
    for (const auto& [id, model] : models) {
      const absl::StatusOr<Model> found = store_.models().Resolve(absl::StrCat("id:", id));
      if (found.ok()) {
        if (!model.may_expire) oracle_.models[id].maybe_deleted = false;
      } else if (absl::IsNotFound(found.status()) && (model.maybe_deleted || model.may_expire)) {
        oracle_.MarkDeleted(id);
      } else {
        Fail("a model is lost", model, found.status());
        oracle_.MarkDeleted(id);
      }
    }
  }

  void SettleUploads() {
    const std::map<std::string, OpenUpload> uploads = oracle_.uploads;
    for (const auto& [request_id, upload] : uploads) SettleUpload(upload);
  }

  void SettleMerges() {
    const std::map<std::string, MergeParams> merges = oracle_.merges;
    for (const auto& [request_id, params] : merges) {
      const absl::StatusOr<StartedMerge> started = store_.merges().Start(params);
      if (started.ok()) {
        oracle_.AddModelOf(params, started->model.record.id());
        continue;
      }
      // Its inputs may be gone, or turn out not to be READY.
      oracle_.merges.erase(request_id);
      if (!absl::IsNotFound(started.status()) && !absl::IsFailedPrecondition(started.status()) &&
          !absl::IsInvalidArgument(started.status())) {
        input_.fail(absl::StrCat("merge ", params.name, ": ", started.status().ToString()));
      }
    }
  }

  void SettleTags() {
    for (auto& [tag, targets] : oracle_.tags) {
      const absl::StatusOr<Model> found = store_.models().Resolve(tag);
      if (!found.ok() && !absl::IsNotFound(found.status())) {
        input_.fail(absl::StrCat("tag ", tag, ": ", found.status().ToString()));
      }
      const std::string id = found.ok() ? found->record.id() : "";
      if (!targets.contains(id)) {
        input_.fail(absl::StrCat("tag ", tag, " points at '", id, "', which it may not"));
      }
      targets = {id};
    }
  }

  void CheckModels() {
    std::set<std::string> promised;
    for (auto& [id, model] : oracle_.models) {
      promised.insert(id);
      CheckModel(model);
    }
    std::set<std::string> found;
    const auto listed = store_.models().List({}, "", kAll);
    if (!listed.ok()) return input_.fail(absl::StrCat("list: ", listed.status().ToString()));
    uint64_t stored_bytes = 0;
    for (const Model& model : listed->items) {
      found.insert(model.record.id());
      stored_bytes += model.record.stored_bytes();
      if (model.record.state() == ModelRecord::READY) CheckStoredForm(model.record);
    }
    if (found != promised) {
      input_.fail(absl::StrCat("listed are ", found.size(), " models, promised ", promised.size()));
    }
    const auto totals = store_.models().Totals();
    if (!totals.ok() || totals->model_count != found.size() ||
        totals->stored_bytes != stored_bytes) {
      input_.fail("the totals are not those of the models");
    }
    for (const std::string& id : oracle_.deleted) {
      const auto seen = store_.models().Resolve(absl::StrCat("id:", id));
      if (!absl::IsNotFound(seen.status())) input_.fail(absl::StrCat("deleted ", id, " is there"));
    }
  }

  void CheckLineage() {
    const absl::Status status = store_.lineage().View([&](const LineageGraph& graph) {
      size_t live_count = 0;
      for (size_t i = 0; i < graph.index_end(); ++i) {
        live_count += graph.node(static_cast<LineageGraph::Index>(i)).is_live;
      }
      for (const auto& [id, model] : oracle_.models) {
        const auto index = graph.Find(id);
        const bool is_live = index.has_value() && graph.node(*index).is_live;
        if (!is_live) input_.fail(absl::StrCat(id, " has no lineage"));
      }
      if (live_count != oracle_.models.size()) {
        input_.fail(absl::StrCat("the lineage has ", live_count, " live models of ",
                                 oracle_.models.size()));
      }
      return absl::OkStatus();
    });
    if (!status.ok()) input_.fail(absl::StrCat("lineage: ", status.ToString()));
  }

  void CheckTags() {
    std::set<std::string> promised;
    for (const auto& [tag, targets] : oracle_.tags) {
      if (!targets.contains("")) promised.insert(tag);
    }
    std::set<std::string> found;
    const auto listed = store_.models().ListTags("", "", kAll);
    if (!listed.ok()) return input_.fail(absl::StrCat("tags: ", listed.status().ToString()));
    for (const Tag& tag : listed->items) found.insert(absl::StrCat(tag.name, "@", tag.tag));
    if (found != promised) {
      input_.fail(absl::StrCat("there are ", found.size(), " tags, promised ", promised.size()));
    }
  }

  void CheckUploads() {
    std::set<std::string> promised;
    for (const auto& [request_id, upload] : oracle_.uploads) promised.insert(upload.id);
    std::set<std::string> found;
    const auto listed = store_.uploads().ListOpen("", kAll);
    if (!listed.ok()) return input_.fail(absl::StrCat("uploads: ", listed.status().ToString()));
    for (const UploadView& upload : listed->items) found.insert(upload.record.id());
    if (found != promised) {
      input_.fail(absl::StrCat("open are ", found.size(), " uploads, promised ", promised.size()));
    }
  }

  void CheckJobs() {
    for (const std::string& id : oracle_.jobs) {
      const absl::StatusOr<Job> job = store_.jobs().Get(id);
      if (!job.ok()) {
        input_.fail(absl::StrCat("job ", id, ": ", job.status().ToString()));
      } else if (job->record.state() == JobRecord::FAILED && !input_.may_have_failures) {
        input_.fail(absl::StrCat("job ", id, ", ", JobRecord::Kind_Name(job->record.kind()),
                                 ", failed without a cause: ", job->record.error()));
      }
    }
  }

 private:
  void Fail(absl::string_view what, const LiveModel& model, const absl::Status& status) {
    input_.fail(absl::StrCat(what, ": ", model.name, " id:", model.id, ": ", status.ToString()));
  }

  void SettleUpload(OpenUpload upload) {
    const auto view = store_.uploads().Start(upload.params);  // opens it, if that had not happened
    const std::string what = absl::StrCat("upload ", upload.id, " of ", upload.params.name, ": ");
    if (upload.id.empty() && absl::IsNotFound(view.status())) {  // a parent is gone meanwhile
      oracle_.uploads.erase(upload.params.request_id);
      return;
    }
    if (!view.ok()) return input_.fail(absl::StrCat(what, view.status().ToString()));
    const UploadRecord& record = view->record;
    if (upload.id.empty()) upload.id = record.id();
    if (upload.id != record.id()) return input_.fail(absl::StrCat(what, "became another"));
    if (record.state() == UploadRecord::FINISHED) {
      if (upload.content->is_malformed) input_.fail(absl::StrCat(what, "a malformed one is taken"));
      return oracle_.AddModelOf(upload, record.model_id());
    }
    if (record.state() == UploadRecord::CANCELLED) {
      const bool has_expired =
          record.expired() && input_.now >= upload.active_time + input_.upload_ttl;
      if (!upload.maybe_cancelled && !has_expired) input_.fail(absl::StrCat(what, "is cancelled"));
      oracle_.uploads.erase(upload.params.request_id);
      return;
    }
    for (const auto& [path, promised] : upload.durable_bytes) {
      uint64_t durable = 0;
      for (int i = 0; i < record.entries_size(); ++i) {
        if (record.entries(i).path() == path) durable = view->durable_bytes[i];
      }
      if (durable < promised) {
        input_.fail(absl::StrCat(what, path, " has ", durable, " of ", promised, " bytes"));
      }
    }
    upload.maybe_cancelled = false;
    oracle_.uploads[upload.params.request_id] = std::move(upload);
  }

  void CheckModel(LiveModel& model) {
    const absl::StatusOr<Model> found = store_.models().Resolve(absl::StrCat("id:", model.id));
    if (!found.ok()) return;  // was told
    const ModelRecord& record = found->record;
    if (record.name() != model.name) input_.fail(absl::StrCat(model.id, " has another name"));
    std::vector<std::string> parents;
    for (const auto& edge : record.parents()) parents.push_back(edge.model_id());
    if (parents != model.parents) input_.fail(absl::StrCat(model.id, " has other parents"));
    const auto label = record.labels().find(kLabel);
    const std::string value = label == record.labels().end() ? "" : label->second;
    if (!model.labels.contains(value)) {
      input_.fail(absl::StrCat(model.id, " has the label '", value, "', which it may not"));
    }
    model.labels = {value};
    if (record.state() == ModelRecord::FAILED && !input_.may_have_failures) {
      input_.fail(absl::StrCat(model.name, " failed without a cause: ", record.error()));
    }
    const bool is_exact = model.content != nullptr && !model.is_lossy;
    if (!is_exact && record.state() != ModelRecord::READY) return;
    const absl::StatusOr<TestFiles> files = ReadFiles(store_, record, ReadAs::kStored);
    if (!files.ok()) return Fail("a model cannot be read", model, files.status());
    if (is_exact) {
      if (*files != model.content->files) input_.fail(absl::StrCat(model.id, " has other bytes"));
      return;
    }
    const Digest digest = DigestOf(*files);
    if (model.served.has_value() && *model.served != digest) {
      input_.fail(absl::StrCat(model.id, " serves other bytes than before"));
    }
    model.served = digest;
  }

  // That what the record names is there, and claimed.
  void CheckStoredForm(const ModelRecord& record) {
    const std::string owner = record.delta_owner().empty() ? record.id() : record.delta_owner();
    uint64_t bytes = 0;
    for (const store::v1::DeltaPiece& piece : record.delta_pieces()) {
      const std::string hex = absl::BytesToHexString(piece.blob_digest());
      const auto blob = input_.blobs->Stat(*Digest::FromHex(hex));
      if (!blob.ok() || blob->size_bytes != piece.size_bytes()) {
        input_.fail(absl::StrCat(record.name(), ": blob ", hex, " is not there"));
      }
      const auto claim = ReadRecord<store::v1::BlobRecord>(*input_.catalog, keys::Blob(hex));
      const bool is_claimed = claim.ok() && claim->has_value() && !(*claim)->message.reclaiming() &&
                              std::count((*claim)->message.model_ids().begin(),
                                         (*claim)->message.model_ids().end(), owner) == 1;
      if (!is_claimed) input_.fail(absl::StrCat(owner, ": blob ", hex, " is not claimed"));
      bytes += piece.size_bytes();
    }
    if (bytes != record.stored_bytes()) {
      input_.fail(absl::StrCat(record.name(), ": ", bytes, " bytes are stored, not ",
                               record.stored_bytes()));
    }
  }

  const CheckInput& input_;
  ModelStore& store_;
  Oracle& oracle_;
};

std::vector<std::string> KeysWith(Catalog& catalog, const std::string& prefix) {
  return *ScanKeySuffixes(catalog, prefix);
}

std::set<std::string> FoldersOf(const CheckInput& input) {
  std::set<std::string> folders;
  const SimulatedDisk::NodePtr staging = input.disk->Find(input.staging_dir);
  for (const auto& [name, node] : staging->entries) folders.insert(name);
  return folders;
}

}  // namespace

absl::StatusOr<TestFiles> ReadFiles(ModelStore& store, const ModelRecord& model, ReadAs as) {
  WDELTA_ASSIGN_OR_RETURN(const ContentSourcePtr source, as == ReadAs::kServed
                                                             ? store.reader().OpenToServe(model)
                                                             : store.reader().Open(model));
  TestFiles files;
  const Checkpoint& checkpoint = source->checkpoint();
  for (uint32_t i = 0; i < checkpoint.files.size(); ++i) {
    const CheckpointFile& file = checkpoint.files[i];
    const auto cursor =
        store.reader().NewCursor(source, RangesOfFile(checkpoint, i, 0, file.size_bytes));
    std::string& bytes = files[file.path];
    while (true) {
      WDELTA_ASSIGN_OR_RETURN(const auto piece, cursor->Next());
      if (!piece.has_value()) break;
      bytes += piece->data;
    }
    if (Digest::Of(bytes) != file.sha256) {
      return absl::DataLossError(absl::StrCat(file.path, " has another digest than its record"));
    }
  }
  return files;
}

Digest DigestOf(const TestFiles& files) {
  Sha256Hasher hasher;
  for (const auto& [path, bytes] : files) {
    hasher.Update(absl::StrCat(path, " ", bytes.size(), " "));
    hasher.Update(bytes);
  }
  return hasher.Current();
}

void SettleAndCheck(const CheckInput& input, Oracle& oracle) {
  Checker checker(input, oracle);
  checker.SettleUploads();
  checker.SettleMerges();
  checker.SettleModels();
  checker.SettleTags();
  checker.CheckModels();
  checker.CheckTags();
  checker.CheckUploads();
  checker.CheckLineage();
  checker.CheckJobs();
}

void CheckNoGarbage(const CheckInput& input) {
  std::set<std::string> needed_blobs;
  std::set<std::string> needed_folders;
  for (const std::string& id : KeysWith(*input.catalog, std::string(keys::kModels))) {
    const auto model = input.store->models().GetById(id);
    if (!model.ok() || !model->has_value()) continue;
    const ModelRecord& record = (*model)->record;
    for (const store::v1::DeltaPiece& piece : record.delta_pieces()) {
      needed_blobs.insert(absl::BytesToHexString(piece.blob_digest()));
    }
    if (!record.staging_id().empty()) needed_folders.insert(record.staging_id());
    if (record.state() == ModelRecord::DELETED && HoldsBytes(record) &&
        KeysWith(*input.catalog, keys::EncodedOnPrefix(id)).empty() &&
        KeysWith(*input.catalog, keys::NeededByPrefix(id)).empty()) {
      input.fail(absl::StrCat("deleted model ", record.name(), " holds bytes for nobody"));
    }
  }
  for (const std::string& id : KeysWith(*input.catalog, std::string(keys::kOpenUploads))) {
    needed_folders.insert(id);
  }
  std::set<std::string> blobs;
  const absl::StatusOr<BlobPage> page = input.blobs->List("", kAll);
  for (const BlobInfo& blob : page->blobs) blobs.insert(blob.digest.ToHex());
  if (blobs != needed_blobs) {
    input.fail(absl::StrCat("there are ", blobs.size(), " blobs, needed ", needed_blobs.size()));
  }
  if (FoldersOf(input) != needed_folders) {
    input.fail(absl::StrCat("there are ", FoldersOf(input).size(), " staged uploads, needed ",
                            needed_folders.size()));
  }
}

void CheckEmpty(const CheckInput& input) {
  for (const char* prefix :
       {"model/",   "name/",        "version/",    "tag/",       "tagged/",
        "digest/",  "child/",       "encoded_on/", "needed_by/", "storage_choice/",
        "indexed/", "layout/",      "tensor/",     "blob/",      "blob_of/",
        "upload/",  "open_upload/", "staged/",     "request/",   "queue/",
        "gc_kept/"}) {
    for (const std::string& suffix : KeysWith(*input.catalog, prefix)) {
      input.fail(absl::StrCat("left over: ", prefix, suffix));
    }
  }
  const absl::StatusOr<BlobPage> page = input.blobs->List("", kAll);
  for (const BlobInfo& blob : page->blobs) {
    input.fail(absl::StrCat("left over: blob ", blob.digest.ToHex()));
  }
  for (const std::string& folder : FoldersOf(input)) {
    input.fail(absl::StrCat("left over: staged upload ", folder));
  }
}

}  // namespace wdelta::testing
