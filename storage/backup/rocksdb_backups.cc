#include "storage/backup/rocksdb_backups.h"

#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"
#include "storage/base/status_macros.h"
#include "storage/blobs/rocksdb_status.h"

namespace wdelta {

// Tells of every read, and fails all of them once that failed: RocksDB's own StopBackup
// ends neither a verification nor a restore.
class RocksdbBackups::WatchedFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  explicit WatchedFileSystem(OnRead on_read)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), on_read_(std::move(on_read)) {}

  const char* Name() const override { return "wdelta-watched"; }

  rocksdb::IOStatus NewSequentialFile(const std::string& name, const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSSequentialFile>* file,
                                      rocksdb::IODebugContext* debug) override {
    std::unique_ptr<rocksdb::FSSequentialFile> opened;
    const rocksdb::IOStatus status = target()->NewSequentialFile(name, options, &opened, debug);
    {
      absl::MutexLock lock(&mutex_);
      last_opened_ = name;
    }
    if (status.ok()) *file = std::make_unique<File>(std::move(opened), this);
    return status;
  }

  // The file that was read last.
  std::string last_opened() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return last_opened_;
  }

  // The first error of on_read.
  absl::Status stopped() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return stopped_;
  }

 private:
  class File final : public rocksdb::FSSequentialFileOwnerWrapper {
   public:
    File(std::unique_ptr<rocksdb::FSSequentialFile>&& file, WatchedFileSystem* owner)
        : FSSequentialFileOwnerWrapper(std::move(file)), owner_(*owner) {}

    rocksdb::IOStatus Read(size_t size, const rocksdb::IOOptions& options, rocksdb::Slice* result,
                           char* scratch, rocksdb::IODebugContext* debug) override {
      const rocksdb::IOStatus status =
          FSSequentialFileWrapper::Read(size, options, result, scratch, debug);
      if (!status.ok()) return status;
      return owner_.Tell(result->size());
    }

   private:
    WatchedFileSystem& owner_;
  };

  rocksdb::IOStatus Tell(uint64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (stopped_.ok()) stopped_ = on_read_(bytes);
    return stopped_.ok() ? rocksdb::IOStatus::OK() : rocksdb::IOStatus::Aborted("stopped");
  }

  mutable absl::Mutex mutex_;
  const OnRead on_read_;
  absl::Status stopped_ ABSL_GUARDED_BY(mutex_);
  std::string last_opened_ ABSL_GUARDED_BY(mutex_);
};

namespace {

// Below the folder: files that backups share, with checksums in their names.
constexpr absl::string_view kSharedFolder = "/shared_checksum/";

// Removes shared files that are cut: their names end with `_<size>.<kind>`. RocksDB makes no
// backup that needs such a file while it lies there, and copies it when it does not.
absl::Status RemoveCutFiles(const std::string& folder) {
  std::error_code error;
  std::vector<std::filesystem::path> cut;
  for (auto it = std::filesystem::directory_iterator(folder + std::string(kSharedFolder), error);
       !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    const std::string stem = it->path().stem();
    uint64_t size = 0;
    const bool has_size = absl::SimpleAtoi(stem.substr(stem.rfind('_') + 1), &size);
    if (has_size && it->file_size(error) != size) cut.push_back(it->path());
  }
  if (error == std::errc::no_such_file_or_directory) return absl::OkStatus();
  for (const std::filesystem::path& path : cut) {
    if (!error) std::filesystem::remove(path, error);
  }
  if (!error) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("backups ", folder, ": ", error.message()));
}

rocksdb::BackupEngineOptions EngineOptions(const std::string& folder, rocksdb::Env* env) {
  rocksdb::BackupEngineOptions options(folder, env);
  options.share_table_files = true;
  options.share_files_with_checksum = true;
  options.sync = true;
  options.max_background_operations = 1;
  return options;
}

}  // namespace

RocksdbBackups::RocksdbBackups(std::string folder, OnRead on_read)
    : folder_(std::move(folder)),
      files_(std::make_shared<WatchedFileSystem>(std::move(on_read))),
      env_(rocksdb::NewCompositeEnv(files_)) {}

RocksdbBackups::~RocksdbBackups() = default;

absl::StatusOr<std::unique_ptr<RocksdbBackups>> RocksdbBackups::OpenForWrite(
    const std::string& folder, OnRead on_read) {
  WDELTA_RETURN_IF_ERROR(RemoveCutFiles(folder));
  std::unique_ptr<RocksdbBackups> backups(new RocksdbBackups(folder, std::move(on_read)));
  rocksdb::Env* const env = backups->env_.get();
  rocksdb::BackupEngine* engine = nullptr;
  const rocksdb::IOStatus status =
      rocksdb::BackupEngine::Open(EngineOptions(folder, env), env, &engine);
  backups->engine_.reset(engine);
  WDELTA_RETURN_IF_ERROR(backups->ToStatus(status, "open"));
  return backups;
}

absl::StatusOr<std::unique_ptr<RocksdbBackups>> RocksdbBackups::OpenForRead(
    const std::string& folder, OnRead on_read) {
  std::unique_ptr<RocksdbBackups> backups(new RocksdbBackups(folder, std::move(on_read)));
  rocksdb::Env* const env = backups->env_.get();
  rocksdb::BackupEngineReadOnly* engine = nullptr;
  const rocksdb::IOStatus status =
      rocksdb::BackupEngineReadOnly::Open(EngineOptions(folder, env), env, &engine);
  backups->read_only_engine_.reset(engine);
  WDELTA_RETURN_IF_ERROR(backups->ToStatus(status, "open"));
  return backups;
}

absl::Status RocksdbBackups::ToStatus(const rocksdb::Status& status,
                                      const std::string& what) const {
  if (status.ok()) return absl::OkStatus();
  WDELTA_RETURN_IF_ERROR(files_->stopped());
  const std::string text = absl::StrCat("backups ", folder_, ": ", what);
  // A backup or a file that must be there.
  if (status.IsNotFound() || status.IsPathNotFound()) {
    return absl::DataLossError(absl::StrCat(text, ": ", status.ToString()));
  }
  return FromRocksdb(status, text);
}

const rocksdb::BackupEngineReadOnlyBase& RocksdbBackups::reader() const {
  if (engine_ != nullptr) return *engine_;
  return *read_only_engine_;
}

absl::StatusOr<uint32_t> RocksdbBackups::Create(rocksdb::DB& db) {
  rocksdb::BackupID id = 0;
  WDELTA_RETURN_IF_ERROR(
      ToStatus(engine_->CreateNewBackup(rocksdb::CreateBackupOptions(), &db, &id), "create"));
  return id;
}

absl::Status RocksdbBackups::KeepOnly(const std::set<uint32_t>& ids) {
  std::vector<rocksdb::BackupID> corrupt;
  engine_->GetCorruptedBackups(&corrupt);
  // The engine does not know what else a backup needs that lacked a file when it was opened,
  // and would remove that; a new backup may have brought the file back.
  for (const rocksdb::BackupID id : corrupt) {
    if (ids.count(id) != 0) return absl::OkStatus();
  }
  std::vector<rocksdb::BackupInfo> found;
  engine_->GetBackupInfo(&found);
  for (const rocksdb::BackupInfo& backup : found) {
    if (ids.count(backup.backup_id) != 0) continue;
    WDELTA_RETURN_IF_ERROR(ToStatus(engine_->DeleteBackup(backup.backup_id),
                                    absl::StrCat("delete of ", backup.backup_id)));
  }
  for (const rocksdb::BackupID id : corrupt) {
    WDELTA_RETURN_IF_ERROR(ToStatus(engine_->DeleteBackup(id), absl::StrCat("delete of ", id)));
  }
  return ToStatus(engine_->GarbageCollect(), "removal of leftovers");
}

absl::StatusOr<bool> RocksdbBackups::RemoveDamaged(uint32_t id, const absl::Status& verified) {
  // Verify reads one file after the other, and ends with the damaged one.
  const std::string path = files_->last_opened();
  const std::string shared = folder_ + std::string(kSharedFolder);
  if (!absl::StartsWith(path, shared) ||
      !absl::StrContains(verified.message(), path.substr(shared.size()))) {
    return false;
  }
  WDELTA_RETURN_IF_ERROR(ToStatus(engine_->DeleteBackup(id), absl::StrCat("delete of ", id)));
  const rocksdb::Status removed = env_->DeleteFile(path);
  if (!removed.IsNotFound() && !removed.IsPathNotFound()) {
    WDELTA_RETURN_IF_ERROR(ToStatus(removed, absl::StrCat("removal of ", path)));
  }
  return true;
}

absl::StatusOr<uint64_t> RocksdbBackups::SizeBytes(uint32_t id) {
  rocksdb::BackupInfo info;
  WDELTA_RETURN_IF_ERROR(ToStatus(reader().GetBackupInfo(id, &info), absl::StrCat("size of ", id)));
  return info.size;
}

absl::Status RocksdbBackups::Verify(uint32_t id) {
  return ToStatus(reader().VerifyBackup(id, /*verify_with_checksum=*/true),
                  absl::StrCat("verification of ", id));
}

absl::Status RocksdbBackups::Restore(uint32_t id, const std::string& path) {
  return ToStatus(reader().RestoreDBFromBackup(rocksdb::RestoreOptions(), id, path, path),
                  absl::StrCat("restore of ", id, " into ", path));
}

}  // namespace wdelta
