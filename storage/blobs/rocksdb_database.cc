#include "storage/blobs/rocksdb_database.h"

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "rocksdb/convenience.h"
#include "rocksdb/env.h"
#include "rocksdb/listener.h"
#include "rocksdb/statistics.h"
#include "rocksdb/write_batch.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/blobs/rocksdb_opening.h"
#include "storage/blobs/rocksdb_status.h"

namespace wdelta {
namespace {

class StayStopped final : public rocksdb::EventListener {
 public:
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status,
                            bool* auto_recovery) override {
    *auto_recovery = false;
  }
};

class WarningLog final : public rocksdb::Logger {
 public:
  explicit WarningLog(std::function<void(absl::string_view)> warn)
      : Logger(rocksdb::InfoLogLevel::WARN_LEVEL), warn_(std::move(warn)) {}

  using Logger::Logv;
  void Logv(const char* format, va_list arguments) override {
    if (warn_ == nullptr) return;
    std::array<char, 1024> line;  // longer ones are cut
    const int length = std::vsnprintf(line.data(), line.size(), format, arguments);
    if (length < 0) return;
    const size_t size = std::min(static_cast<size_t>(length), line.size() - 1);
    warn_(absl::StripAsciiWhitespace(absl::string_view(line.data(), size)));
  }

 private:
  const std::function<void(absl::string_view)> warn_;
};

std::string ProbePath(const std::string& path) { return absl::StrCat(path, "/probe.tmp"); }

// Opens it for writing.
absl::StatusOr<std::unique_ptr<rocksdb::DB>> OpenComplete(const RocksdbDatabaseOptions& options) {
  if (!options.is_complete) WDELTA_RETURN_IF_ERROR(RocksdbDatabase::CheckComplete(options));
  // Of a process that was killed amidst a probe.
  options.rocksdb.env->DeleteFile(ProbePath(options.path)).PermitUncheckedError();
  std::unique_ptr<rocksdb::DB> db;
  WDELTA_RETURN_IF_ERROR(
      FromRocksdb(OpenRocksdb(options.rocksdb, options.path, /*is_read_only=*/false, db),
                  absl::StrCat(options.name, ": open")));
  return db;
}

}  // namespace

absl::Status RocksdbDatabase::CheckComplete(const RocksdbDatabaseOptions& options) {
  const absl::StatusOr<std::optional<uint64_t>> mark = HighWaterMark::Read(options.path);
  if (!mark.ok() && !absl::IsDataLoss(mark.status())) return mark.status();
  if (mark.ok() && !mark->has_value()) return absl::OkStatus();
  WDELTA_RETURN_IF_ERROR(CheckHasDatabase(options.name, options.rocksdb, options.path));
  absl::Status lost;
  if (mark.ok()) {
    rocksdb::Options rocksdb = options.rocksdb;
    rocksdb.info_log = std::make_shared<WarningLog>(options.warn);
    lost = wdelta::CheckComplete(options.name, rocksdb, options.path, **mark);
    if (ErrorReason(lost) != "DATABASE_WENT_BACK") return lost;
  } else {
    lost = Annotate(mark.status(), options.name);
  }
  if (options.accept_lost_writes == nullptr) return lost;
  options.accept_lost_writes(lost.message());
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<RocksdbDatabase>> RocksdbDatabase::Open(
    RocksdbDatabaseOptions options) {
  rocksdb::Options& rocksdb = options.rocksdb;
  rocksdb.info_log = std::make_shared<WarningLog>(options.warn);
  rocksdb.listeners.push_back(std::make_shared<StayStopped>());
  rocksdb.statistics = rocksdb::CreateDBStatistics();
  // Counts only: times would take two looks at the clock for every read.
  rocksdb.statistics->set_stats_level(rocksdb::StatsLevel::kExceptHistogramOrTimers);
  std::unique_ptr<rocksdb::DB> db;
  std::unique_ptr<HighWaterMark> mark;
  if (options.is_read_only) {
    WDELTA_RETURN_IF_ERROR(
        FromRocksdb(OpenRocksdb(rocksdb, options.path, /*is_read_only=*/true, db),
                    absl::StrCat(options.name, ": open")));
  } else {
    WDELTA_ASSIGN_OR_RETURN(db, OpenComplete(options));
    WDELTA_ASSIGN_OR_RETURN(mark, HighWaterMark::Open(options.path, db->GetLatestSequenceNumber()));
  }
  return std::unique_ptr<RocksdbDatabase>(
      new RocksdbDatabase(std::move(options), std::move(db), std::move(mark)));
}

RocksdbDatabase::RocksdbDatabase(RocksdbDatabaseOptions options, std::unique_ptr<rocksdb::DB> db,
                                 std::unique_ptr<HighWaterMark> mark)
    : options_(std::move(options)), mark_(std::move(mark)), db_(std::move(db)) {}

DatabaseStats RocksdbDatabase::Stats() {
  const auto ticker = [this](rocksdb::Tickers which) {
    return options_.rocksdb.statistics->getTickerCount(which);
  };
  const bool is_broken = IsBroken();
  const Lease db = Borrow();
  const auto property = [&db](const std::string& name) {
    uint64_t value = 0;  // where the database has no such thing
    db->GetIntProperty(name, &value);
    return value;
  };
  using Properties = rocksdb::DB::Properties;
  DatabaseStats stats;
  stats.block_cache = {ticker(rocksdb::BLOCK_CACHE_HIT), ticker(rocksdb::BLOCK_CACHE_MISS),
                       property(Properties::kBlockCacheUsage),
                       property(Properties::kBlockCacheCapacity)};
  stats.blob_cache = {ticker(rocksdb::BLOB_DB_CACHE_HIT), ticker(rocksdb::BLOB_DB_CACHE_MISS),
                      property(Properties::kBlobCacheUsage),
                      property(Properties::kBlobCacheCapacity)};
  stats.compaction_read_bytes = ticker(rocksdb::COMPACT_READ_BYTES);
  stats.compaction_written_bytes = ticker(rocksdb::COMPACT_WRITE_BYTES);
  stats.flushed_bytes = ticker(rocksdb::FLUSH_WRITE_BYTES);
  stats.log_bytes = ticker(rocksdb::WAL_FILE_BYTES);
  stats.log_syncs = ticker(rocksdb::WAL_FILE_SYNCED);
  stats.stall_us = ticker(rocksdb::STALL_MICROS);
  stats.is_write_stopped = is_broken || property(Properties::kIsWriteStopped) != 0;
  stats.memtable_bytes = property(Properties::kCurSizeAllMemTables);
  stats.table_reader_bytes = property(Properties::kEstimateTableReadersMem);
  stats.live_file_bytes =
      property(Properties::kLiveSstFilesSize) + property(Properties::kLiveBlobFileSize);
  stats.dead_bytes = property(Properties::kLiveBlobFileGarbageSize);
  return stats;
}

absl::Status RocksdbDatabase::ToStatus(const rocksdb::Status& status,
                                       absl::string_view operation) const {
  if (status.ok()) return absl::OkStatus();
  return FromRocksdb(status, absl::StrCat(name(), ": ", operation));
}

bool RocksdbDatabase::IsBroken() {
  absl::ReaderMutexLock lock(&mutex_);
  return is_broken_;
}

rocksdb::Status RocksdbDatabase::TryWrite(rocksdb::WriteBatch& batch) {
  rocksdb::WriteOptions durable;
  durable.sync = true;
  rocksdb::Status status;
  uint64_t last_write = 0;
  {
    const Lease db = Borrow();
    status = db->Write(durable, &batch);
    // All writes are synced before they count here.
    last_write = db->GetLatestSequenceNumber();
  }
  if (status.ok()) RaiseMark(last_write);
  // Incomplete: the error that stopped it, given to who waits for room in the memtables.
  if (status.IsIOError() || status.IsIncomplete()) {
    absl::MutexLock lock(&mutex_);
    is_broken_ = true;
  }
  return status;
}

void RocksdbDatabase::RaiseMark(uint64_t number) {
  const absl::Status raised = mark_->Raise(number);
  // It lags, which hides losses and invents none.
  const bool was_stuck = is_mark_stuck_.exchange(!raised.ok());
  if (!raised.ok() && !was_stuck && options_.warn != nullptr) options_.warn(raised.message());
}

absl::Status RocksdbDatabase::Write(rocksdb::WriteBatch& batch, absl::string_view operation) {
  rocksdb::Status status = TryWrite(batch);
  // The latter: another writer's Repair has stopped it.
  if (status.ok() || !(IsBroken() || status.IsShutdownInProgress())) {
    return ToStatus(status, operation);
  }
  // What stopped it may have passed, a flush that failed a while ago, say.
  const absl::StatusOr<bool> repaired = Repair();
  if (repaired.ok()) {
    status = TryWrite(batch);
  } else if (status.IsShutdownInProgress()) {
    return repaired.status();
  }
  return ToStatus(status, operation);
}

absl::StatusOr<bool> RocksdbDatabase::Repair() {
  if (!IsBroken()) return false;
  absl::MutexLock repair(&repair_mutex_);
  if (!IsBroken()) return true;
  // Not again for each of many writers that wait.
  if (absl::Now() < next_probe_) return last_probe_;
  last_probe_ = Probe();
  next_probe_ = last_probe_.ok() ? absl::InfinitePast() : absl::Now() + options_.probe_pause;
  WDELTA_RETURN_IF_ERROR(last_probe_);
  // Compactions would hold it open; they and flushes delete files of which whoever opens it has
  // just read.
  rocksdb::CancelAllBackgroundWork(&*Borrow(), true);
  absl::MutexLock lock(&mutex_);
  last_probe_ = Reopen();
  if (last_probe_.ok()) return true;
  next_probe_ = absl::Now() + options_.probe_pause;
  return last_probe_;
}

absl::Status RocksdbDatabase::Probe() {
  uint64_t left_bytes = limits::kMiB;
  uint64_t memtable_bytes = 0;
  Borrow()->GetIntProperty(rocksdb::DB::Properties::kSizeAllMemTables, &memtable_bytes);
  left_bytes += memtable_bytes;
  const std::string probe_path = ProbePath(options_.path);
  rocksdb::Env& env = *options_.rocksdb.env;
  std::unique_ptr<rocksdb::WritableFile> file;
  rocksdb::Status status = env.NewWritableFile(probe_path, &file, rocksdb::EnvOptions());
  const absl::Cleanup remove = [&] { env.DeleteFile(probe_path).PermitUncheckedError(); };
  const std::string block(limits::kMiB, '\0');
  while (status.ok() && left_bytes > 0) {
    const uint64_t bytes = std::min<uint64_t>(left_bytes, block.size());
    status = file->Append({block.data(), bytes});
    left_bytes -= bytes;
  }
  if (status.ok()) status = file->Sync();
  if (status.ok()) status = file->Close();
  return ToStatus(status, "stopped by a failed write; a probe of the disk");
}

absl::Status RocksdbDatabase::Reopen() {
  const auto open = [this](bool is_read_only, std::unique_ptr<rocksdb::DB>& db) {
    return ToStatus(OpenRocksdb(options_.rocksdb, options_.path, is_read_only, db),
                    is_read_only ? "open for reading" : "open anew");
  };
  WDELTA_ASSIGN_OR_RETURN(const uint64_t found,
                          FindLastWrite(name(), options_.rocksdb, options_.path));
  WDELTA_RETURN_IF_ERROR(CheckLastWrite(name(), options_.path, mark_->number(), found));
  // First a second one for reading, so that reads go on whatever comes.
  std::unique_ptr<rocksdb::DB> readable;
  WDELTA_RETURN_IF_ERROR(open(/*is_read_only=*/true, readable));
  db_ = std::move(readable);
  std::unique_ptr<rocksdb::DB> writable;
  WDELTA_RETURN_IF_ERROR(open(/*is_read_only=*/false, writable));
  db_ = std::move(writable);
  is_broken_ = false;
  return absl::OkStatus();
}

}  // namespace wdelta
