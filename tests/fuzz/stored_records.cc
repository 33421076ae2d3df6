#include "tests/fuzz/stored_records.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "google/protobuf/stubs/logging.h"
#include "storage/base/clock.h"
#include "storage/base/digest.h"
#include "storage/base/file_system.h"
#include "storage/blobs/memory_blob_store.h"
#include "storage/catalog/keys.h"
#include "storage/catalog/maintenance_keys.h"
#include "storage/catalog/memory_catalog.h"
#include "storage/engine/model_store.h"
#include "store/v1/records.pb.h"

namespace wdelta::testing {
namespace {

using Ids = StoredIds;

constexpr uint32_t kPage = 100;
constexpr uint64_t kMaxReadBytes = 64 * 1024;  // of a stream
constexpr size_t kMaxStreamsRead = 16;
constexpr size_t kMaxValueBytes = 65'535;

std::string ContentHex() { return Digest::Of("content").ToHex(); }

std::string KeyOf(StoredRecord record) {
  switch (record) {
    case StoredRecord::kModel:
      return keys::Model(Ids::kModel);
    case StoredRecord::kParent:
      return keys::Model(Ids::kParent);
    case StoredRecord::kName:
      return keys::Name(Ids::kName);
    case StoredRecord::kTag:
      return keys::Tag(Ids::kName, Ids::kTag);
    case StoredRecord::kTagChange:
      return keys::TagHistory(Ids::kName, Ids::kTag, 1);
    case StoredRecord::kStorageChoice:
      return keys::StorageChoice(Ids::kModel);
    case StoredRecord::kIndexedContent:
      return keys::Indexed(Ids::kModel);
    case StoredRecord::kTensorPlace:
      return keys::Tensor(ContentHex(), Ids::kModel);
    case StoredRecord::kBlob:
      return keys::Blob(ContentHex());
    case StoredRecord::kUpload:
      return keys::Upload(Ids::kUpload);
    case StoredRecord::kStagedSize:
      return keys::Staged(Ids::kUpload, 0);
    case StoredRecord::kRequest:
      return keys::Request("r");
    case StoredRecord::kJob:
      return keys::Job(Ids::kJob);
    case StoredRecord::kRetentionRule:
      return keys::Retention("rule");
    case StoredRecord::kLabelRun:
      return keys::LabelRun(ContentHex());
    default:
      return keys::GcKept(Ids::kModel);
  }
}

void AddIndexKeys(Commit& commit) {
  for (const std::string& key :
       {keys::Version(Ids::kName, Ids::kModel), keys::Version(Ids::kName, Ids::kParent),
        keys::Tagged(Ids::kModel, Ids::kName, Ids::kTag), keys::Child(Ids::kParent, Ids::kModel),
        keys::EncodedOn(Ids::kParent, Ids::kModel), keys::DigestOf(ContentHex(), Ids::kModel),
        keys::Layout(ContentHex(), 0, Ids::kModel), keys::BlobOf(Ids::kModel, ContentHex()),
        keys::OpenUpload(Ids::kUpload), keys::Queue(Ids::kJob)}) {
    commit.Write(key, "");
  }
}

void ReadModel(ModelStore& store, const Model& model) {
  (void)store.models().TagsOf(model.record.id());
  (void)store.models().StorageChoiceOf(model);
  (void)store.reader().HoldDelta(model.record.id());
  const absl::StatusOr<ContentSourcePtr> source = store.reader().Open(model.record);
  if (!source.ok()) return;
  const Checkpoint& checkpoint = (*source)->checkpoint();
  for (uint32_t i = 0; i < std::min(checkpoint.streams.size(), kMaxStreamsRead); ++i) {
    const uint64_t size = std::min(checkpoint.streams[i].tensor.size_bytes, kMaxReadBytes);
    std::string bytes(size, '\0');
    (void)(*source)->Read(i, 0, size, bytes.data());
    (void)(*source)->StreamDigest(i);
  }
}

void ReadModels(ModelStore& store) {
  Models& models = store.models();
  for (const std::string& reference :
       {std::string(Ids::kName), absl::StrCat(Ids::kName, "@", Ids::kTag),
        absl::StrCat("id:", Ids::kModel), absl::StrCat("id:", Ids::kParent),
        absl::StrCat("sha256:", ContentHex())}) {
    const absl::StatusOr<Model> model = models.Resolve(reference);
    if (model.ok()) ReadModel(store, *model);
  }
  for (const char* id : {Ids::kModel, Ids::kParent}) {
    const absl::StatusOr<std::optional<Model>> model = models.GetById(id);
    if (model.ok() && model->has_value()) ReadModel(store, **model);
    (void)models.Children(id);
  }
  (void)models.List({}, "", kPage);
  (void)models.ListTags("", "", kPage);
  (void)models.TagHistory(Ids::kName, Ids::kTag, 0, kPage);
  (void)models.Totals();
}

}  // namespace

void ReadStore(const std::vector<StoredValue>& values) {
  const google::protobuf::LogSilencer silencer;  // it tells of each string that is not UTF-8
  MemoryCatalog catalog;
  Commit commit;
  AddIndexKeys(commit);
  for (const StoredValue& value : values) commit.Write(KeyOf(value.record), value.value);
  if (!catalog.Apply(commit).ok()) return;
  MemoryBlobStore blobs;
  if (!blobs.Put(Digest::Of("content"), "content").ok()) return;
  const std::unique_ptr<FileSystem> files = NewPosixFileSystem();
  const SystemClock clock;
  ModelStoreOptions options;
  options.staging_dir = "/nowhere/staging";
  options.codec_threads = 1;
  ModelStore store({&blobs, &catalog, files.get(), &clock}, options);
  ReadModels(store);
  (void)store.uploads().ListOpen("", kPage);
  (void)store.uploads().Get(Ids::kUpload);
  (void)store.uploads().FindContent(Ids::kUpload, {Digest::Of("content")});
  bool more = false;
  (void)store.jobs().List("", kPage, &more);
  (void)store.maintenance().rules().List("", kPage);
  GcPlanSink sink;
  sink.deletion = [](const ExpiredModel&) { return absl::OkStatus(); };
  sink.freed = [](const std::string&, const std::string&, uint64_t) { return absl::OkStatus(); };
  sink.rewrite = [](const RewriteEstimate&) { return absl::OkStatus(); };
  sink.kept = [](const std::string&, const std::string&, const GcUnit&) {
    return absl::OkStatus();
  };
  sink.alive = [] { return absl::OkStatus(); };
  (void)store.maintenance().PlanGc(sink);
  // What changes records comes last.
  (void)store.uploads().Finish(Ids::kUpload, {});
  absl::StatusOr<JobQueue::Claim> claim = store.jobs().ClaimNext();
  if (claim.ok() && claim->job.has_value()) {
    (void)store.runner().Run(*std::move(claim->job), [] { return false; });
  }
  (void)store.models().Delete(absl::StrCat("id:", Ids::kModel));
  ReadModels(store);
}

std::vector<StoredValue> SplitValues(absl::string_view bytes) {
  std::vector<StoredValue> values;
  while (bytes.size() >= 3) {
    const auto record =
        static_cast<unsigned char>(bytes[0]) % static_cast<unsigned char>(StoredRecord::kCount);
    const size_t size = static_cast<unsigned char>(bytes[1]) +
                        256 * static_cast<size_t>(static_cast<unsigned char>(bytes[2]));
    bytes.remove_prefix(3);
    values.push_back({static_cast<StoredRecord>(record), std::string(bytes.substr(0, size))});
    bytes.remove_prefix(std::min(size, bytes.size()));
  }
  return values;
}

std::string JoinValues(const std::vector<StoredValue>& values) {
  std::string bytes;
  for (const StoredValue& value : values) {
    const size_t size = std::min(value.value.size(), kMaxValueBytes);
    bytes.push_back(static_cast<char>(value.record));
    bytes.push_back(static_cast<char>(size % 256));
    bytes.push_back(static_cast<char>(size / 256));
    absl::StrAppend(&bytes, absl::string_view(value.value).substr(0, size));
  }
  return bytes;
}

std::vector<StoredValue> SoundValues() {
  const std::string digest = Digest::Of("content").ToBytes();
  store::v1::ModelRecord model;
  model.set_id(Ids::kModel);
  model.set_name(Ids::kName);
  model.set_state(store::v1::ModelRecord::READY);
  model.set_digest(digest);
  model.set_delta_digest(digest);
  model.set_storage_parent_id(Ids::kParent);
  model.set_raw_bytes(7);
  model.set_job_id(Ids::kJob);
  store::v1::FileRecord& file = *model.add_files();
  file.set_path("config.json");
  file.set_size_bytes(7);
  file.set_sha256(digest);
  store::v1::ParentEdge& edge = *model.add_parents();
  edge.set_model_id(Ids::kParent);
  edge.set_name(Ids::kName);
  model.mutable_labels()->insert({"k", "v"});
  auto& piece = *model.add_delta_pieces();
  piece.set_blob_digest(digest);
  piece.set_size_bytes(7);
  store::v1::ModelRecord parent = model;
  parent.set_id(Ids::kParent);
  parent.clear_storage_parent_id();
  parent.clear_parents();
  parent.clear_delta_pieces();
  parent.set_state(store::v1::ModelRecord::STAGED);
  parent.set_staging_id(Ids::kUpload);
  store::v1::NameRecord name;
  name.set_model_id(Ids::kModel);
  store::v1::TagRecord tag;
  tag.set_model_id(Ids::kModel);
  store::v1::UploadRecord upload;
  upload.set_id(Ids::kUpload);
  upload.set_name("u");
  upload.set_state(store::v1::UploadRecord::OPEN);
  store::v1::UploadEntry& entry = *upload.add_entries();
  entry.set_path("config.json");
  entry.set_size_bytes(7);
  entry.set_sha256(digest);
  store::v1::StagedSizeRecord staged;
  store::v1::JobRecord job;
  job.set_id(Ids::kJob);
  job.set_kind(store::v1::JobRecord::REPACK);
  job.set_model_id(Ids::kModel);
  job.set_model_name(Ids::kName);
  job.set_state(store::v1::JobRecord::PENDING);
  store::v1::RetentionRuleRecord rule;
  rule.set_name("rule");
  rule.set_keep_last(1);
  rule.set_run_label("k");
  store::v1::BlobRecord blob;
  return {{StoredRecord::kModel, model.SerializeAsString()},
          {StoredRecord::kParent, parent.SerializeAsString()},
          {StoredRecord::kName, name.SerializeAsString()},
          {StoredRecord::kTag, tag.SerializeAsString()},
          {StoredRecord::kBlob, blob.SerializeAsString()},
          {StoredRecord::kUpload, upload.SerializeAsString()},
          {StoredRecord::kStagedSize, staged.SerializeAsString()},
          {StoredRecord::kJob, job.SerializeAsString()},
          {StoredRecord::kRetentionRule, rule.SerializeAsString()}};
}

}  // namespace wdelta::testing
