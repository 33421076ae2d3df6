#include "tests/engine/engine_fixture.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "storage/base/status_macros.h"

namespace wdelta::testing {

EngineTest::EngineTest() { Restart(); }

EngineTest::~EngineTest() { store_.reset(); }

void EngineTest::Restart() {
  store_.reset();
  crash_ = CrashPoint();
  ModelStoreOptions options;
  options.staging_dir = folder_.path();
  options.storage_policy = storage_policy_;
  options.upload_ttl = upload_ttl_;
  store_ = std::make_unique<ModelStore>(
      ModelStore::Dependencies{&blobs_, &catalog_, files_.get(), &clock_}, options);
  ASSERT_TRUE(store_->Recover().ok());
}

absl::StatusOr<FinishedUpload> EngineTest::Upload(StartUploadParams params, const Files& files) {
  WDELTA_ASSIGN_OR_RETURN(const UploadView upload, store_->uploads().Start(params));
  const std::string& id = upload.record.id();
  std::vector<EntryParams> entries;
  for (const auto& [path, bytes] : files) entries.push_back({path, bytes.size(), ""});
  WDELTA_RETURN_IF_ERROR(store_->uploads().AddEntries(id, entries).status());
  {
    WDELTA_ASSIGN_OR_RETURN(const auto writer, store_->uploads().OpenWriter(id));
    for (const auto& [path, bytes] : files) {
      if (!bytes.empty()) WDELTA_RETURN_IF_ERROR(writer->Write(path, 0, bytes));
    }
    WDELTA_RETURN_IF_ERROR(writer->Sync().status());
  }
  return store_->uploads().Finish(id, {});
}

absl::StatusOr<FinishedUpload> EngineTest::Upload(const std::string& name, const Files& files,
                                                  const std::vector<std::string>& parents) {
  StartUploadParams params;
  params.name = name;
  for (const std::string& parent : parents) params.parents.push_back({parent, {}, {}});
  return Upload(std::move(params), files);
}

absl::Status EngineTest::TryJobs() {
  absl::Status last;
  while (true) {
    absl::StatusOr<JobQueue::Claim> claim = store_->jobs().ClaimNext();
    if (!claim.ok()) return claim.status();
    if (!claim->job.has_value()) return last;
    const absl::Status status = store_->runner().Run(*std::move(claim->job), [] { return false; });
    if (!status.ok()) last = status;
    if (crash_.crashed()) return last;
  }
}

void EngineTest::RunJobs() {
  const absl::Status status = TryJobs();
  EXPECT_TRUE(status.ok()) << status;
}

absl::StatusOr<ContentSourcePtr> EngineTest::Open(const std::string& reference) {
  WDELTA_ASSIGN_OR_RETURN(const Model model, store_->models().Resolve(reference));
  return store_->reader().Open(model.record);
}

Files EngineTest::ReadAll(const ContentSourcePtr& source) {
  Files files;
  const Checkpoint& checkpoint = source->checkpoint();
  for (uint32_t i = 0; i < checkpoint.files.size(); ++i) {
    const auto cursor = store_->reader().NewCursor(
        source, RangesOfFile(checkpoint, i, 0, checkpoint.files[i].size_bytes));
    std::string& bytes = files[checkpoint.files[i].path];
    while (true) {
      const auto piece = cursor->Next();
      EXPECT_TRUE(piece.ok()) << piece.status();
      if (!piece.ok() || !piece->has_value()) break;
      bytes += (*piece)->data;
    }
    EXPECT_EQ(Digest::Of(bytes), checkpoint.files[i].sha256) << checkpoint.files[i].path;
  }
  return files;
}

Files EngineTest::ReadBack(const std::string& reference) {
  const absl::StatusOr<ContentSourcePtr> source = Open(reference);
  EXPECT_TRUE(source.ok()) << source.status();
  return source.ok() ? ReadAll(*source) : Files();
}

store::v1::ModelRecord EngineTest::RecordOf(const std::string& reference) {
  const absl::StatusOr<Model> model = store_->models().Resolve(reference);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? model->record : store::v1::ModelRecord();
}

std::vector<std::string> EngineTest::BlobHexes() {
  std::vector<std::string> hexes;
  const BlobPage page = *blobs_.List("", 10'000);
  for (const BlobInfo& blob : page.blobs) hexes.push_back(blob.digest.ToHex());
  return hexes;
}

std::vector<std::string> EngineTest::PiecesOf(const store::v1::ModelRecord& record) {
  std::vector<std::string> hexes;
  for (const store::v1::DeltaPiece& piece : record.delta_pieces()) {
    hexes.push_back(absl::BytesToHexString(piece.blob_digest()));
  }
  std::sort(hexes.begin(), hexes.end());
  return hexes;
}

void EngineTest::DamageDelta(const store::v1::ModelRecord& record, uint64_t offset) {
  for (const store::v1::DeltaPiece& piece : record.delta_pieces()) {
    if (offset < piece.size_bytes()) {
      blobs_.Damage(*Digest::FromBytes(piece.blob_digest()), offset);
      return;
    }
    offset -= piece.size_bytes();
  }
  FAIL() << "the `.wdelta` is smaller";
}

}  // namespace wdelta::testing
