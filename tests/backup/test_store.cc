#include "tests/backup/test_store.h"

#include <utility>

#include "gtest/gtest.h"
#include "storage/base/limits.h"
#include "storage/catalog/keys.h"
#include "storage/engine/records/records.h"

namespace wdelta::testing {

using store::v1::ModelRecord;

TestStore::TestStore(const std::string& data_dir)
    : data_dir_(std::move(DataDir::Open(data_dir)).value()) {
  RocksdbBlobStoreOptions blob_options;
  blob_options.memtable_bytes = 4 * limits::kMiB;
  blobs_ = std::move(RocksdbBlobStore::Open(data_dir_.blobs_path(), blob_options)).value();
  catalog_ = std::move(RocksdbCatalog::Open(data_dir_.catalog_path())).value();
  gated_blobs_ = std::make_unique<GatedBlobStore>(blobs_.get(), &gate_);
  gated_files_ = std::make_unique<GatedFileSystem>(files_.get(), &gate_);
  backup_ = std::move(StoreBackup::Open({catalog_.get(), blobs_.get(), &gate_, files_.get(),
                                         &clock_, data_dir_.path(), data_dir_.staging_path(),
                                         data_dir_.backup_path()}))
                .value();
  ModelStoreOptions options;
  options.staging_dir = data_dir_.staging_path();
  store_ = std::make_unique<ModelStore>(
      ModelStore::Dependencies{gated_blobs_.get(), catalog_.get(), gated_files_.get(), &clock_},
      options);
  EXPECT_TRUE(store_->Recover().ok());
}

std::string TestStore::OpenWithParents(const std::string& name, const TestFiles& files,
                                       const std::vector<std::string>& parents, double part) {
  StartUploadParams params;
  params.name = name;
  params.new_version = true;
  for (const std::string& parent : parents) params.parents.push_back({parent, {}, {}});
  const absl::StatusOr<UploadView> upload = store_->uploads().Start(params);
  EXPECT_TRUE(upload.ok()) << upload.status();
  if (!upload.ok()) return "";
  const std::string id = upload->record.id();
  std::vector<EntryParams> entries;
  for (const auto& [path, bytes] : files) entries.push_back({path, bytes.size(), ""});
  EXPECT_TRUE(store_->uploads().AddEntries(id, entries).ok());
  auto writer = store_->uploads().OpenWriter(id);
  EXPECT_TRUE(writer.ok()) << writer.status();
  for (const auto& [path, bytes] : files) {
    const auto size = static_cast<size_t>(static_cast<double>(bytes.size()) * part);
    const absl::Status written = (*writer)->Write(path, 0, bytes.substr(0, size));
    EXPECT_TRUE(written.ok()) << written;
  }
  EXPECT_TRUE((*writer)->Sync().ok());
  return id;
}

std::string TestStore::Open(const std::string& name, const TestFiles& files, double part) {
  return OpenWithParents(name, files, {}, part);
}

void TestStore::Finish(const std::string& upload) {
  const absl::Status finished = store_->uploads().Finish(upload, {}).status();
  EXPECT_TRUE(finished.ok()) << finished;
}

void TestStore::Upload(const std::string& name, const TestFiles& files,
                       const std::vector<std::string>& parents) {
  Finish(OpenWithParents(name, files, parents, 1));
}

void TestStore::UploadReady(const std::string& name, const TestFiles& files,
                            const std::vector<std::string>& parents) {
  Upload(name, files, parents);
  RunJobs();
  const absl::StatusOr<Model> model = store_->models().Resolve(name);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->record.state(), ModelRecord::READY) << model->record.error();
}

void TestStore::Delete(const std::string& name) {
  const absl::Status deleted = store_->models().Delete(name);
  EXPECT_TRUE(deleted.ok()) << deleted;
}

void TestStore::StartGc() { EXPECT_TRUE(store_->maintenance().StartGc().ok()); }

void TestStore::RunJobs() {
  while (true) {
    absl::StatusOr<JobQueue::Claim> claim = store_->jobs().ClaimNext();
    ASSERT_TRUE(claim.ok()) << claim.status();
    if (!claim->job.has_value()) return;
    store_->runner().Run(*std::move(claim->job), [] { return false; }).IgnoreError();
  }
}

std::map<std::string, std::string> TestStore::Models() {
  std::map<std::string, std::string> names;
  const std::string prefix(keys::kModels);
  const absl::StatusOr<ScanPage> page = catalog_->Scan({prefix, PrefixEnd(prefix), 10'000, false});
  EXPECT_TRUE(page.ok()) << page.status();
  for (const Record& record : page->records) {
    const ModelRecord model = ParseRecord<ModelRecord>(record)->message;
    if (model.state() != ModelRecord::DELETED) names[model.id()] = model.name();
  }
  return names;
}

TestFiles TestStore::ReadBack(const std::string& reference) {
  TestFiles files;
  const absl::StatusOr<Model> model = store_->models().Resolve(reference);
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return files;
  const absl::StatusOr<ContentSourcePtr> source = store_->reader().Open(model->record);
  EXPECT_TRUE(source.ok()) << source.status();
  if (!source.ok()) return files;
  const Checkpoint& checkpoint = (*source)->checkpoint();
  for (uint32_t i = 0; i < checkpoint.files.size(); ++i) {
    const auto cursor = store_->reader().NewCursor(
        *source, RangesOfFile(checkpoint, i, 0, checkpoint.files[i].size_bytes));
    std::string& bytes = files[checkpoint.files[i].path];
    while (true) {
      const auto piece = cursor->Next();
      EXPECT_TRUE(piece.ok()) << piece.status();
      if (!piece.ok() || !piece->has_value()) break;
      bytes += (*piece)->data;
    }
  }
  return files;
}

absl::StatusOr<BackupReport> TestStore::Backup(const BackupOptions& options,
                                               const BackupMaker::OnProgress& on_progress) {
  if (on_progress) return backup_->MakeBackup(options, on_progress);
  return backup_->MakeBackup(options, [](const BackupProgress&) { return absl::OkStatus(); });
}

BackupReport TestStore::BackupOk(const std::string& folder, uint32_t keep) {
  const absl::StatusOr<BackupReport> report = Backup({folder, keep, true});
  EXPECT_TRUE(report.ok()) << report.status();
  return report.ok() ? *report : BackupReport();
}

}  // namespace wdelta::testing
