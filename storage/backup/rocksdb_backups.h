// The backups of one RocksDB database, in a folder of their own, made by RocksDB's
// BackupEngine: files of the tree and of blobs are shared between backups.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "rocksdb/db.h"
#include "rocksdb/utilities/backup_engine.h"

namespace wdelta {

// One thread at a time. Errors: RESOURCE_EXHAUSTED (`DISK_FULL`), DATA_LOSS, what `on_read`
// returned.
class RocksdbBackups {
 public:
  // Called with the sizes of pieces read, by one thread at a time, not always the same; an
  // error ends the work.
  using OnRead = std::function<absl::Status(uint64_t bytes)>;

  // Removes files that were cut since they were copied: Create copies them again.
  static absl::StatusOr<std::unique_ptr<RocksdbBackups>> OpenForWrite(const std::string& folder,
                                                                      OnRead on_read);
  // Changes nothing in the folder.
  static absl::StatusOr<std::unique_ptr<RocksdbBackups>> OpenForRead(const std::string& folder,
                                                                     OnRead on_read);
  ~RocksdbBackups();

  // OpenForWrite only. Returns RocksDB's number of the backup.
  absl::StatusOr<uint32_t> Create(rocksdb::DB& db);
  // Likewise. Removes all others, and what broken attempts left.
  absl::Status KeepOnly(const std::set<uint32_t>& ids);
  // Likewise, after Verify has found this backup damaged (DATA_LOSS): when the file is shared
  // with earlier backups, which had it before, removes it and this backup, so that the next
  // Create copies the file again, for those others too. False: it was copied for this one.
  absl::StatusOr<bool> RemoveDamaged(uint32_t id, const absl::Status& verified);

  // Bytes of all files of a backup.
  absl::StatusOr<uint64_t> SizeBytes(uint32_t id);
  // Reads every file and compares its checksum. DATA_LOSS names the file.
  absl::Status Verify(uint32_t id);
  // Into a folder that does not exist; its parent does.
  absl::Status Restore(uint32_t id, const std::string& path);

 private:
  class WatchedFileSystem;

  RocksdbBackups(std::string folder, OnRead on_read);
  absl::Status ToStatus(const rocksdb::Status& status, const std::string& what) const;
  const rocksdb::BackupEngineReadOnlyBase& reader() const;

  const std::string folder_;
  const std::shared_ptr<WatchedFileSystem> files_;
  const std::unique_ptr<rocksdb::Env> env_;
  // One of the two; after what it uses.
  std::unique_ptr<rocksdb::BackupEngine> engine_;
  std::unique_ptr<rocksdb::BackupEngineReadOnly> read_only_engine_;
};

}  // namespace wdelta
