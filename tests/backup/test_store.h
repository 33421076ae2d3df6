// An engine over the databases of a data folder, with backups, as the daemon has it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "storage/backup/deletion_gate.h"
#include "storage/backup/store_backup.h"
#include "storage/base/clock.h"
#include "storage/base/file_system.h"
#include "storage/blobs/rocksdb_blob_store.h"
#include "storage/catalog/rocksdb_catalog.h"
#include "storage/engine/disk/data_dir.h"
#include "storage/engine/model_store.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta::testing {

// No worker runs jobs: tests call RunJobs. Every call but Backup fails the test on error.
class TestStore {
 public:
  explicit TestStore(const std::string& data_dir);

  ModelStore& store() { return *store_; }
  RocksdbBlobStore& blobs() { return *blobs_; }
  RocksdbCatalog& catalog() { return *catalog_; }

  // Declares the files and writes the first `part` of the bytes of each; returns the id of
  // the upload.
  std::string Open(const std::string& name, const TestFiles& files, double part = 1);
  void Finish(const std::string& upload);
  // All of it; the model waits for its job.
  void Upload(const std::string& name, const TestFiles& files,
              const std::vector<std::string>& parents = {});
  void UploadReady(const std::string& name, const TestFiles& files,
                   const std::vector<std::string>& parents = {});
  void Delete(const std::string& name);
  void StartGc();
  // Some may fail, of models that were deleted.
  void RunJobs();

  // Ids of models that are not deleted, to their names.
  std::map<std::string, std::string> Models();
  TestFiles ReadBack(const std::string& reference);

  absl::StatusOr<BackupReport> Backup(const BackupOptions& options,
                                      const BackupMaker::OnProgress& on_progress = {});
  BackupReport BackupOk(const std::string& folder, uint32_t keep = 0);

 private:
  std::string OpenWithParents(const std::string& name, const TestFiles& files,
                              const std::vector<std::string>& parents, double part);

  DataDir data_dir_;
  SystemClock clock_;
  std::unique_ptr<FileSystem> files_ = NewPosixFileSystem();
  std::unique_ptr<RocksdbBlobStore> blobs_;
  std::unique_ptr<RocksdbCatalog> catalog_;
  absl::Mutex gate_;
  std::unique_ptr<GatedBlobStore> gated_blobs_;
  std::unique_ptr<GatedFileSystem> gated_files_;
  std::unique_ptr<ModelStore> store_;
  std::unique_ptr<StoreBackup> backup_;
};

// Of a reading that goes on.
inline absl::Status GoOn(uint64_t) { return absl::OkStatus(); }

}  // namespace wdelta::testing
