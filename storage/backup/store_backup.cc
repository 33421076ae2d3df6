#include "storage/backup/store_backup.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/backup/backup_folder.h"
#include "storage/backup/rocksdb_backups.h"
#include "storage/backup/staged_copy.h"
#include "storage/backup/store_audit.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/disk/data_dir.h"
#include "storage/engine/records/records.h"

namespace wdelta {
namespace {

using store::v1::BackupRecord;

// For reading what is frozen.
constexpr uint64_t kFrozenCacheBytes = 4 * limits::kMiB;

absl::Status BadFolder(const std::string& folder, absl::string_view expected) {
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_BACKUP_DIR",
                   absl::StrCat("folder: expected ", expected, ", found `",
                                absl::CHexEscape(folder.substr(0, limits::kMaxPathBytes)), "`"),
                   {{"field", "folder"}});
}

bool IsInside(const std::filesystem::path& path, const std::filesystem::path& folder) {
  const auto [end, ignored] = std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
  return end == folder.end();
}

// Bytes of all files below a folder; a hard link counts where it is made, too.
uint64_t BytesBelow(const std::string& folder) {
  uint64_t bytes = 0;
  std::error_code error;
  for (auto it = std::filesystem::recursive_directory_iterator(folder, error);
       !error && it != std::filesystem::recursive_directory_iterator(); it.increment(error)) {
    std::error_code vanished;
    if (!it->is_regular_file(vanished) || vanished) continue;
    const uint64_t size = it->file_size(vanished);
    if (!vanished) bytes += size;
  }
  return bytes;
}

}  // namespace

// One backup.
class StoreBackup::Run {
 public:
  Run(const Dependencies& deps, const BackupOptions& options, const OnProgress& on_progress)
      : deps_(deps), options_(options), on_progress_(on_progress) {}

  absl::StatusOr<BackupReport> Make() {
    WDELTA_ASSIGN_OR_RETURN(const std::string store_id, deps_.catalog->Identity());
    WDELTA_ASSIGN_OR_RETURN(BackupFolder folder,
                            BackupFolder::OpenForStore(deps_.files, options_.folder, store_id));
    WDELTA_ASSIGN_OR_RETURN(const std::vector<uint32_t> earlier, folder.List());
    record_.set_id(earlier.empty() ? 1 : earlier.back() + 1);
    record_.set_store_id(store_id);
    record_.set_data_format(kDataFormat);
    WDELTA_RETURN_IF_ERROR(OpenEngines(folder));
    const absl::Status made = Fill(folder, earlier);
    if (!made.ok()) {
      Prune(folder, earlier).IgnoreError();  // the next one does it otherwise
      return made;
    }
    WDELTA_RETURN_IF_ERROR(folder.Write(record_));
    std::vector<uint32_t> kept = earlier;
    kept.push_back(record_.id());
    while (options_.keep > 0 && kept.size() > options_.keep) {
      WDELTA_RETURN_IF_ERROR(folder.Remove(kept.front()));
      kept.erase(kept.begin());
    }
    const absl::Status pruned = Prune(folder, kept);
    if (!pruned.ok()) {
      return Annotate(
          pruned, absl::StrCat("backup ", record_.id(), " was made, but others cannot be removed",
                               absl::IsDataLoss(pruned)
                                   ? " until the damaged record of one is removed by hand"
                                   : ""));
    }
    return Report(std::move(kept));
  }

 private:
  absl::Status Tell(uint64_t bytes) {
    progress_.read_bytes += bytes;
    return on_progress_(progress_);
  }

  absl::Status Enter(BackupPhase phase) {
    progress_ = {phase, 0};
    return on_progress_(progress_);
  }

  absl::Status OpenEngines(const BackupFolder& folder) {
    const auto tell = [this](uint64_t bytes) { return Tell(bytes); };
    WDELTA_ASSIGN_OR_RETURN(catalogs_, RocksdbBackups::OpenForWrite(folder.catalog_path(), tell));
    WDELTA_ASSIGN_OR_RETURN(blobs_, RocksdbBackups::OpenForWrite(folder.blobs_path(), tell));
    return absl::OkStatus();
  }

  absl::Status Fill(BackupFolder& folder, const std::vector<uint32_t>& earlier) {
    const absl::Cleanup thaw = [this] { deps_.files->RemoveAll(deps_.work_dir).IgnoreError(); };
    WDELTA_RETURN_IF_ERROR(Enter(BackupPhase::kFreezing));
    WDELTA_RETURN_IF_ERROR(Freeze());
    RocksdbCatalogOptions catalog_options;
    catalog_options.block_cache_bytes = kFrozenCacheBytes;
    catalog_options.is_read_only = true;
    WDELTA_ASSIGN_OR_RETURN(const auto catalog,
                            RocksdbCatalog::Open(FrozenCatalog(), catalog_options));
    RocksdbBlobStoreOptions blob_options;
    blob_options.block_cache_bytes = kFrozenCacheBytes;
    blob_options.blob_cache_bytes = kFrozenCacheBytes;
    blob_options.is_read_only = true;
    WDELTA_ASSIGN_OR_RETURN(const auto blobs, RocksdbBlobStore::Open(FrozenBlobs(), blob_options));
    WDELTA_RETURN_IF_ERROR(Audit(*catalog, *blobs));
    WDELTA_RETURN_IF_ERROR(Copy(folder, earlier, *catalog, *blobs));
    if (!options_.verify) return absl::OkStatus();
    WDELTA_RETURN_IF_ERROR(Enter(BackupPhase::kVerifying));
    WDELTA_ASSIGN_OR_RETURN(const uint32_t catalog_id, VerifyOrMend(*catalogs_, *catalog->Borrow(),
                                                                    record_.catalog_backup_id()));
    record_.set_catalog_backup_id(catalog_id);
    WDELTA_ASSIGN_OR_RETURN(const uint32_t blobs_id,
                            VerifyOrMend(*blobs_, *blobs->Borrow(), record_.blobs_backup_id()));
    record_.set_blobs_backup_id(blobs_id);
    const absl::Status staged = VerifyStaged(folder);
    if (!absl::IsDataLoss(staged) || earlier.empty()) return staged;
    // An earlier copy, which this one has links to, was damaged since.
    WDELTA_RETURN_IF_ERROR(CopyStaged(folder, "", *catalog).status());
    return VerifyStaged(folder);
  }

  // Files that are shared with earlier backups, and were damaged since those were made, are
  // copied again. Returns the number of the backup that is right.
  absl::StatusOr<uint32_t> VerifyOrMend(RocksdbBackups& backups, rocksdb::DB& database,
                                        uint32_t id) {
    for (int mended = 0;; ++mended) {
      const absl::Status verified = backups.Verify(id);
      if (verified.ok()) return id;
      if (!absl::IsDataLoss(verified)) return verified;
      bool is_removed = false;
      if (mended < limits::kMaxMendedBackupFiles) {
        WDELTA_ASSIGN_OR_RETURN(is_removed, backups.RemoveDamaged(id, verified));
      }
      if (!is_removed) {
        return absl::DataLossError(
            absl::StrCat(verified.message(), "; look after the disk, and begin another folder"));
      }
      WDELTA_ASSIGN_OR_RETURN(id, backups.Create(database));
    }
  }

  absl::Status VerifyStaged(const BackupFolder& folder) {
    return VerifyStagedFiles(*deps_.files, folder.staging_path(record_.id()),
                             record_.staged_upload_count(),
                             [this](uint64_t bytes) { return Tell(bytes); });
  }

  std::string FrozenCatalog() const { return deps_.work_dir + "/catalog"; }
  std::string FrozenBlobs() const { return deps_.work_dir + "/blobs"; }
  std::string FrozenStaging() const { return deps_.work_dir + "/staging"; }

  absl::Status Freeze() {
    WDELTA_RETURN_IF_ERROR(deps_.files->RemoveAll(deps_.work_dir));
    WDELTA_RETURN_IF_ERROR(deps_.files->CreateDirectories(deps_.work_dir));
    absl::WriterMutexLock no_deletions(deps_.deletion_gate);
    record_.set_create_time_us(ToMicros(deps_.clock->Now()));
    WDELTA_RETURN_IF_ERROR(deps_.catalog->Freeze(FrozenCatalog()));
    // Behind the catalog: what it names was put before.
    WDELTA_RETURN_IF_ERROR(deps_.blobs->Freeze(FrozenBlobs()));
    return LinkStagedFiles(*deps_.files, deps_.staging_dir, FrozenStaging());
  }

  absl::Status Audit(Catalog& catalog, BlobStore& blobs) {
    WDELTA_ASSIGN_OR_RETURN(
        const StoreAudit audit,
        AuditStore(
            catalog, blobs,
            [this](const std::string& upload) {
              return std::filesystem::exists(absl::StrCat(FrozenStaging(), "/", upload));
            },
            [this] { return Tell(0); }));
    record_.set_model_count(audit.model_count);
    record_.set_problem_count(audit.problem_count);
    record_.set_first_problem(audit.first_problem);
    return absl::OkStatus();
  }

  absl::Status Copy(BackupFolder& folder, const std::vector<uint32_t>& earlier,
                    RocksdbCatalog& catalog, RocksdbBlobStore& blobs) {
    const uint64_t before = BytesBelow(folder.path());
    WDELTA_RETURN_IF_ERROR(Enter(BackupPhase::kCatalog));
    WDELTA_ASSIGN_OR_RETURN(const uint32_t catalog_id, catalogs_->Create(*catalog.Borrow()));
    record_.set_catalog_backup_id(catalog_id);
    WDELTA_RETURN_IF_ERROR(Enter(BackupPhase::kBlobs));
    WDELTA_ASSIGN_OR_RETURN(const uint32_t blobs_id, blobs_->Create(*blobs.Borrow()));
    record_.set_blobs_backup_id(blobs_id);
    new_bytes_ = BytesBelow(folder.path()) - before;

    WDELTA_RETURN_IF_ERROR(Enter(BackupPhase::kUploads));
    WDELTA_ASSIGN_OR_RETURN(
        const StagedCopied staged,
        CopyStaged(folder, earlier.empty() ? std::string() : folder.staging_path(earlier.back()),
                   catalog));
    record_.set_staged_upload_count(staged.uploads);
    WDELTA_ASSIGN_OR_RETURN(const uint64_t catalog_bytes, catalogs_->SizeBytes(catalog_id));
    WDELTA_ASSIGN_OR_RETURN(const uint64_t blob_bytes, blobs_->SizeBytes(blobs_id));
    record_.set_total_bytes(catalog_bytes + blob_bytes + staged.total_bytes);
    return absl::OkStatus();
  }

  absl::StatusOr<StagedCopied> CopyStaged(const BackupFolder& folder, const std::string& earlier,
                                          Catalog& catalog) {
    WDELTA_ASSIGN_OR_RETURN(
        const StagedCopied staged,
        CopyStagedFiles(*deps_.files, catalog, FrozenStaging(), earlier,
                        folder.staging_path(record_.id()), [this](uint64_t bytes) {
                          new_bytes_ += bytes;
                          return Tell(bytes);
                        }));
    WDELTA_RETURN_IF_ERROR(deps_.files->SyncDirectory(folder.staging_path()));
    return staged;
  }

  // Removes what belongs to none of `kept`.
  absl::Status Prune(const BackupFolder& folder, const std::vector<uint32_t>& kept) {
    std::set<uint32_t> catalog_ids, blob_ids;
    std::set<std::string> staging_paths;
    for (const uint32_t id : kept) {
      WDELTA_ASSIGN_OR_RETURN(const BackupRecord record, folder.Read(id));
      catalog_ids.insert(record.catalog_backup_id());
      blob_ids.insert(record.blobs_backup_id());
      staging_paths.insert(folder.staging_path(id));
    }
    WDELTA_RETURN_IF_ERROR(catalogs_->KeepOnly(catalog_ids));
    WDELTA_RETURN_IF_ERROR(blobs_->KeepOnly(blob_ids));
    WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                            deps_.files->List(folder.staging_path()));
    for (const std::string& name : names) {
      const std::string path = absl::StrCat(folder.staging_path(), "/", name);
      if (staging_paths.count(path) == 0) WDELTA_RETURN_IF_ERROR(deps_.files->RemoveAll(path));
    }
    return absl::OkStatus();
  }

  BackupReport Report(std::vector<uint32_t> kept) const {
    BackupReport report;
    report.id = record_.id();
    report.total_bytes = record_.total_bytes();
    report.new_bytes = new_bytes_;
    report.model_count = record_.model_count();
    report.staged_upload_count = record_.staged_upload_count();
    report.is_verified = options_.verify;
    report.problem_count = record_.problem_count();
    report.first_problem = record_.first_problem();
    report.kept_ids = std::move(kept);
    return report;
  }

  const Dependencies& deps_;
  const BackupOptions& options_;
  const OnProgress& on_progress_;
  BackupProgress progress_;
  std::unique_ptr<RocksdbBackups> catalogs_;
  std::unique_ptr<RocksdbBackups> blobs_;
  BackupRecord record_;
  uint64_t new_bytes_ = 0;
};

absl::StatusOr<std::unique_ptr<StoreBackup>> StoreBackup::Open(const Dependencies& dependencies) {
  WDELTA_RETURN_IF_ERROR(dependencies.files->RemoveAll(dependencies.work_dir));
  return std::unique_ptr<StoreBackup>(new StoreBackup(dependencies));
}

absl::Status StoreBackup::CheckFolder(const std::string& folder) const {
  const bool is_plain = !folder.empty() && folder.size() <= limits::kMaxPathBytes &&
                        std::none_of(folder.begin(), folder.end(), [](char c) {
                          return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
                        });
  if (!is_plain) {
    return BadFolder(folder, absl::StrCat("a path of 1 to ", limits::kMaxPathBytes,
                                          " bytes without control characters"));
  }
  if (folder.front() != '/') {
    return BadFolder(folder, "an absolute path on the daemon's machine");
  }
  // Through links, as far as there is something.
  std::error_code error;
  const std::filesystem::path path = std::filesystem::weakly_canonical(folder, error);
  if (error) return BadFolder(folder, "a path that can be followed");
  const std::filesystem::path data = std::filesystem::weakly_canonical(deps_.data_dir, error);
  if (!error && (IsInside(path, data) || IsInside(data, path))) {
    return BadFolder(folder, absl::StrCat("a folder apart from the data folder ", deps_.data_dir));
  }
  return absl::OkStatus();
}

absl::StatusOr<BackupReport> StoreBackup::MakeBackup(const BackupOptions& options,
                                                     const OnProgress& on_progress) {
  WDELTA_RETURN_IF_ERROR(CheckFolder(options.folder));
  {
    absl::MutexLock lock(&mutex_);
    if (is_running_) {
      return MakeError(absl::StatusCode::kAborted, "BACKUP_RUNNING",
                       "expected no other backup to run, found one; try later");
    }
    is_running_ = true;
  }
  const absl::Cleanup end = [this] {
    absl::MutexLock lock(&mutex_);
    is_running_ = false;
  };
  return Run(deps_, options, on_progress).Make();
}

}  // namespace wdelta
