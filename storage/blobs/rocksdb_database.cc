#include "storage/blobs/rocksdb_database.h"

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
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
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
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

rocksdb::Status OpenDatabase(const rocksdb::Options& options, const std::string& path,
                             bool is_read_only, std::unique_ptr<rocksdb::DB>& db) {
  rocksdb::DB* opened = nullptr;
  const rocksdb::Status status = is_read_only ? rocksdb::DB::OpenForReadOnly(options, path, &opened)
                                              : rocksdb::DB::Open(options, path, &opened);
  if (status.ok()) db.reset(opened);
  return status;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RocksdbDatabase>> RocksdbDatabase::Open(
    std::string name, std::string path, rocksdb::Options options, bool is_read_only,
    std::function<void(absl::string_view)> warn, absl::Duration probe_pause) {
  options.info_log = std::make_shared<WarningLog>(std::move(warn));
  options.listeners.push_back(std::make_shared<StayStopped>());
  options.statistics = rocksdb::CreateDBStatistics();
  // Counts only: times would take two looks at the clock for every read.
  options.statistics->set_stats_level(rocksdb::StatsLevel::kExceptHistogramOrTimers);
  // Of a process that was killed amidst a probe.
  if (!is_read_only) options.env->DeleteFile(ProbePath(path)).PermitUncheckedError();
  std::unique_ptr<rocksdb::DB> db;
  const rocksdb::Status status = OpenDatabase(options, path, is_read_only, db);
  WDELTA_RETURN_IF_ERROR(FromRocksdb(status, absl::StrCat(name, ": open")));
  return std::unique_ptr<RocksdbDatabase>(new RocksdbDatabase(
      std::move(name), std::move(path), std::move(options), probe_pause, std::move(db)));
}

RocksdbDatabase::RocksdbDatabase(std::string name, std::string path, rocksdb::Options options,
                                 absl::Duration probe_pause, std::unique_ptr<rocksdb::DB> db)
    : name_(std::move(name)),
      path_(std::move(path)),
      options_(std::move(options)),
      probe_pause_(probe_pause),
      db_(std::move(db)) {}

DatabaseStats RocksdbDatabase::Stats() {
  const auto ticker = [this](rocksdb::Tickers which) {
    return options_.statistics->getTickerCount(which);
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
  return FromRocksdb(status, absl::StrCat(name_, ": ", operation));
}

bool RocksdbDatabase::IsBroken() {
  absl::ReaderMutexLock lock(&mutex_);
  return is_broken_;
}

rocksdb::Status RocksdbDatabase::TryWrite(rocksdb::WriteBatch& batch) {
  rocksdb::WriteOptions durable;
  durable.sync = true;
  const rocksdb::Status status = Borrow()->Write(durable, &batch);
  // Incomplete: the error that stopped it, given to who waits for room in the memtables.
  if (status.IsIOError() || status.IsIncomplete()) {
    absl::MutexLock lock(&mutex_);
    is_broken_ = true;
  }
  return status;
}

absl::Status RocksdbDatabase::Write(rocksdb::WriteBatch& batch, absl::string_view operation) {
  rocksdb::Status status = TryWrite(batch);
  if (status.ok() || !IsBroken()) return ToStatus(status, operation);
  // What stopped it may have passed, a flush that failed a while ago, say.
  if (Repair().ok()) status = TryWrite(batch);
  return ToStatus(status, operation);
}

absl::StatusOr<bool> RocksdbDatabase::Repair() {
  if (!IsBroken()) return false;
  absl::MutexLock repair(&repair_mutex_);
  if (!IsBroken()) return true;
  // Not again for each of many writers that wait.
  if (absl::Now() < next_probe_) return last_probe_;
  last_probe_ = Probe();
  next_probe_ = last_probe_.ok() ? absl::InfinitePast() : absl::Now() + probe_pause_;
  WDELTA_RETURN_IF_ERROR(last_probe_);
  // Compactions would hold it open, and delete files of which whoever opens it has just read.
  rocksdb::CancelAllBackgroundWork(&*Borrow(), true);
  absl::MutexLock lock(&mutex_);
  WDELTA_RETURN_IF_ERROR(Reopen());
  return true;
}

absl::Status RocksdbDatabase::Probe() {
  uint64_t left_bytes = limits::kMiB;
  uint64_t memtable_bytes = 0;
  Borrow()->GetIntProperty(rocksdb::DB::Properties::kSizeAllMemTables, &memtable_bytes);
  left_bytes += memtable_bytes;
  const std::string probe_path = ProbePath(path_);
  rocksdb::Env& env = *options_.env;
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
  // First a second one for reading, so that reads go on whatever comes.
  std::unique_ptr<rocksdb::DB> readable;
  WDELTA_RETURN_IF_ERROR(
      ToStatus(OpenDatabase(options_, path_, true, readable), "open for reading"));
  db_ = std::move(readable);
  std::unique_ptr<rocksdb::DB> writable;
  WDELTA_RETURN_IF_ERROR(ToStatus(OpenDatabase(options_, path_, false, writable), "open anew"));
  db_ = std::move(writable);
  is_broken_ = false;
  return absl::OkStatus();
}

}  // namespace wdelta
