#include "storage/blobs/rocksdb_opening.h"

#include <algorithm>
#include <optional>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "rocksdb/env.h"
#include "rocksdb/wal_filter.h"
#include "rocksdb/write_batch.h"
#include "storage/base/byte_reader.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/blobs/high_water_mark.h"
#include "storage/blobs/rocksdb_status.h"

namespace wdelta {
namespace {

// Leaves the logs out.
class WithoutLogs final : public rocksdb::WalFilter {
 public:
  const char* Name() const override { return "WithoutLogs"; }
  WalProcessingOption LogRecordFound(unsigned long long, const std::string&,
                                     const rocksdb::WriteBatch&, rocksdb::WriteBatch*,
                                     bool*) override {
    return WalProcessingOption::kIgnoreCurrentRecord;
  }
};

// Whether the records of the logs, which are shown to it in the order of their writes, go on
// without a gap from a write. RocksDB replays what lies behind a log that is gone or cut.
class GapSearch final : public rocksdb::WalFilter {
 public:
  explicit GapSearch(uint64_t last_write) : last_write_(last_write) {}

  const char* Name() const override { return "GapSearch"; }
  WalProcessingOption LogRecordFound(unsigned long long, const std::string&,
                                     const rocksdb::WriteBatch& batch, rocksdb::WriteBatch*,
                                     bool*) override {
    // A batch begins with the number of its first write.
    const uint64_t first = ByteReader(batch.Data()).ReadU64("number").value_or(0);
    has_gap_ = has_gap_ || first > last_write_ + 1;
    // Logs may repeat what is in the tables; a batch may be empty.
    if (!has_gap_) last_write_ = std::max(last_write_, first + batch.Count() - 1);
    return WalProcessingOption::kContinueProcessing;
  }

  // Of the last write before the first gap; nullopt: there is none.
  std::optional<uint64_t> gap() const {
    return has_gap_ ? std::optional<uint64_t>(last_write_) : std::nullopt;
  }

 private:
  uint64_t last_write_;
  bool has_gap_ = false;
};

// The number of its last write that the database has when it is opened so.
absl::StatusOr<uint64_t> LastWriteWith(rocksdb::WalFilter* filter, absl::string_view name,
                                       rocksdb::Options options, const std::string& path) {
  options.wal_filter = filter;
  std::unique_ptr<rocksdb::DB> db;
  WDELTA_RETURN_IF_ERROR(FromRocksdb(OpenRocksdb(options, path, /*is_read_only=*/true, db),
                                     absl::StrCat(name, ": open")));
  return db->GetLatestSequenceNumber();
}

}  // namespace

rocksdb::Status OpenRocksdb(const rocksdb::Options& options, const std::string& path,
                            bool is_read_only, std::unique_ptr<rocksdb::DB>& db) {
  rocksdb::DB* opened = nullptr;
  const rocksdb::Status status = is_read_only ? rocksdb::DB::OpenForReadOnly(options, path, &opened)
                                              : rocksdb::DB::Open(options, path, &opened);
  if (status.ok()) db.reset(opened);
  return status;
}

absl::StatusOr<uint64_t> FindLastWrite(absl::string_view name, const rocksdb::Options& options,
                                       const std::string& path) {
  WithoutLogs without_logs;
  WDELTA_ASSIGN_OR_RETURN(const uint64_t in_tables,
                          LastWriteWith(&without_logs, name, options, path));
  GapSearch search(in_tables);
  WDELTA_ASSIGN_OR_RETURN(const uint64_t last_write, LastWriteWith(&search, name, options, path));
  return search.gap().value_or(last_write);
}

absl::Status CheckComplete(absl::string_view name, const rocksdb::Options& options,
                           const std::string& path, uint64_t expected) {
  // RocksDB's own, so that nobody writes meanwhile.
  rocksdb::FileLock* lock = nullptr;
  WDELTA_RETURN_IF_ERROR(FromRocksdb(options.env->LockFile(absl::StrCat(path, "/LOCK"), &lock),
                                     absl::StrCat(name, ": open")));
  const absl::Cleanup unlock = [&] { options.env->UnlockFile(lock).PermitUncheckedError(); };
  WDELTA_ASSIGN_OR_RETURN(const uint64_t found, FindLastWrite(name, options, path));
  return CheckLastWrite(name, path, expected, found);
}

absl::Status CheckHasDatabase(absl::string_view name, const rocksdb::Options& options,
                              const std::string& path) {
  const rocksdb::Status status = options.env->FileExists(absl::StrCat(path, "/CURRENT"));
  if (!status.IsNotFound()) return FromRocksdb(status, absl::StrCat(name, ": look for CURRENT"));
  return MakeError(absl::StatusCode::kDataLoss, "DATABASE_WENT_BACK",
                   absl::StrCat(name, ": expected the file CURRENT in ", path,
                                ", found none: write the name of the newest MANIFEST-* and a line "
                                "feed into it, or restore a backup"),
                   {{"path", path}});
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
