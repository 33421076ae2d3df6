#include "storage/blobs/rocksdb_opening.h"

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "rocksdb/env.h"
#include "storage/base/error.h"
#include "storage/blobs/high_water_mark.h"

namespace wdelta {

rocksdb::Status OpenRocksdb(const rocksdb::Options& options, const std::string& path,
                            bool is_read_only, std::unique_ptr<rocksdb::DB>& db) {
  rocksdb::DB* opened = nullptr;
  const rocksdb::Status status = is_read_only ? rocksdb::DB::OpenForReadOnly(options, path, &opened)
                                              : rocksdb::DB::Open(options, path, &opened);
  if (status.ok()) db.reset(opened);
  return status;
}

std::optional<uint64_t> LookForLastWrite(const rocksdb::Options& options, const std::string& path) {
  rocksdb::Env& env = *options.env;
  if (env.FileExists(absl::StrCat(path, "/CURRENT")).IsNotFound()) return 0;
  // RocksDB's own, so that nobody writes meanwhile.
  rocksdb::FileLock* lock = nullptr;
  if (!env.LockFile(absl::StrCat(path, "/LOCK"), &lock).ok()) return std::nullopt;
  const absl::Cleanup unlock = [&] { env.UnlockFile(lock).PermitUncheckedError(); };
  std::unique_ptr<rocksdb::DB> db;
  if (!OpenRocksdb(options, path, /*is_read_only=*/true, db).ok()) return std::nullopt;
  return db->GetLatestSequenceNumber();
}

absl::Status CheckLastWrite(absl::string_view name, const std::string& path, uint64_t expected,
                            uint64_t found) {
  if (found >= expected) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kDataLoss, "DATABASE_WENT_BACK",
      absl::StrCat(name, ": expected ", expected, " as the number of its last write, recorded in ",
                   HighWaterMark::PathIn(path), ", found ", found, ": a log (*.log) in ", path,
                   " is damaged or missing, and what was acknowledged behind that is lost. Restore "
                   "a backup, or go on with what is there (accept_lost_writes)"),
      {{"path", path}, {"expected", absl::StrCat(expected)}, {"found", absl::StrCat(found)}});
}

}  // namespace wdelta
