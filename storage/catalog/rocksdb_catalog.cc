#include "storage/catalog/rocksdb_catalog.h"

#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "rocksdb/cache.h"
#include "rocksdb/filter_policy.h"
#include "rocksdb/options.h"
#include "rocksdb/table.h"
#include "rocksdb/utilities/checkpoint.h"
#include "rocksdb/write_buffer_manager.h"
#include "storage/base/byte_reader.h"
#include "storage/base/failpoint.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/commit_checks.h"
#include "storage/catalog/rocksdb_commit_group.h"
#include "storage/catalog/rocksdb_records.h"

namespace wdelta {
namespace {

constexpr int kCacheShardBits = 2;

rocksdb::Options MakeOptions(const RocksdbCatalogOptions& options) {
  rocksdb::Options db_options;
  db_options.env = options.env;
  db_options.create_if_missing = true;
  db_options.paranoid_checks = true;
  db_options.max_open_files = options.max_open_files;
  db_options.write_buffer_size = options.memtable_bytes / 2;
  db_options.max_write_buffer_number = 2;
  db_options.write_buffer_manager =
      std::make_shared<rocksdb::WriteBufferManager>(options.memtable_bytes);
  db_options.compression = rocksdb::kZSTD;

  rocksdb::BlockBasedTableOptions table;
  // Few shards, and indexes and filters in parts: a block that is larger than its shard
  // would be read again by every lookup.
  table.block_cache = rocksdb::NewLRUCache(options.block_cache_bytes, kCacheShardBits);
  table.cache_index_and_filter_blocks = true;
  table.index_type = rocksdb::BlockBasedTableOptions::kTwoLevelIndexSearch;
  table.partition_filters = true;
  table.enable_index_compression = false;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.format_version = 5;
  db_options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return db_options;
}

rocksdb::ReadOptions VerifyingRead() {
  rocksdb::ReadOptions read;
  read.verify_checksums = true;
  return read;
}

absl::StatusOr<uint64_t> ReadRevision(RocksdbDatabase& database) {
  constexpr absl::string_view kWhat = "read of the revision";
  std::string value;
  const rocksdb::Status status =
      database.Borrow()->Get(VerifyingRead(), ToSlice(kRevisionKey), &value);
  if (status.IsNotFound()) return 0;
  WDELTA_RETURN_IF_ERROR(database.ToStatus(status, kWhat));
  if (value.size() != kVersionBytes) {
    return absl::DataLossError(absl::StrCat(database.name(), ": ", kWhat, ": expected ",
                                            kVersionBytes, " bytes, found ", value.size()));
  }
  return ByteReader(value).ReadU64("revision");
}

RocksdbDatabaseOptions DatabaseOptionsFor(const std::string& path,
                                          const RocksdbCatalogOptions& options) {
  return {options, absl::StrCat("catalog ", path), path, MakeOptions(options)};
}

}  // namespace

absl::Status RocksdbCatalog::CheckComplete(const std::string& path,
                                           const RocksdbCatalogOptions& options) {
  return RocksdbDatabase::CheckComplete(DatabaseOptionsFor(path, options));
}

absl::StatusOr<std::unique_ptr<RocksdbCatalog>> RocksdbCatalog::Open(
    const std::string& path, const RocksdbCatalogOptions& options) {
  WDELTA_ASSIGN_OR_RETURN(auto database, RocksdbDatabase::Open(DatabaseOptionsFor(path, options)));
  WDELTA_ASSIGN_OR_RETURN(const uint64_t revision, ReadRevision(*database));
  return std::unique_ptr<RocksdbCatalog>(
      new RocksdbCatalog(options.watch, std::move(database), revision));
}

RocksdbCatalog::RocksdbCatalog(const ChangeLogOptions& watch,
                               std::unique_ptr<RocksdbDatabase> database, uint64_t revision)
    : database_(std::move(database)), revision_(revision), changes_(revision, watch) {}

absl::Status RocksdbCatalog::BadRecordError(absl::string_view key) const {
  return absl::DataLossError(absl::StrCat(database_->name(), ": record `", absl::CHexEscape(key),
                                          "` is shorter than its version"));
}

absl::StatusOr<uint64_t> RocksdbCatalog::ReadVersion(absl::string_view key) const {
  const RocksdbDatabase::Lease db = database_->Borrow();
  rocksdb::PinnableSlice stored;
  const rocksdb::Status status =
      db->Get(VerifyingRead(), db->DefaultColumnFamily(), RecordKey(key), &stored);
  if (status.IsNotFound()) return 0;
  WDELTA_RETURN_IF_ERROR(database_->ToStatus(status, "get"));
  if (stored.size() < kVersionBytes) return BadRecordError(key);
  return ByteReader(ToView(stored)).ReadU64("version");
}

absl::StatusOr<std::optional<Record>> RocksdbCatalog::Get(absl::string_view key) {
  const RocksdbDatabase::Lease db = database_->Borrow();
  rocksdb::PinnableSlice stored;
  const rocksdb::Status status =
      db->Get(VerifyingRead(), db->DefaultColumnFamily(), RecordKey(key), &stored);
  if (status.IsNotFound()) return std::optional<Record>();
  WDELTA_RETURN_IF_ERROR(database_->ToStatus(status, "get"));
  if (stored.size() < kVersionBytes) return BadRecordError(key);
  Record record;
  record.key = std::string(key);
  record.value = std::string(ToView(stored).substr(kVersionBytes));
  WDELTA_ASSIGN_OR_RETURN(record.version, ByteReader(ToView(stored)).ReadU64("version"));
  return std::optional<Record>(std::move(record));
}

absl::StatusOr<ScanPage> RocksdbCatalog::Scan(const ScanRequest& request) {
  WDELTA_RETURN_IF_ERROR(CheckScan(request));
  ScanPage page;
  if (!request.end.empty() && request.end <= request.begin) return page;

  const std::string begin = RecordKey(request.begin);
  const std::string end =
      request.end.empty() ? std::string(kAfterAllRecords) : RecordKey(request.end);
  const rocksdb::Slice lower(begin);
  const rocksdb::Slice upper(end);
  rocksdb::ReadOptions read = VerifyingRead();
  read.iterate_lower_bound = &lower;
  read.iterate_upper_bound = &upper;
  // An iterator reads one snapshot for as long as it lives.
  const RocksdbDatabase::Lease db = database_->Borrow();
  const std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(read));
  request.reverse ? it->SeekToLast() : it->SeekToFirst();
  while (it->Valid() && page.records.size() < request.limit) {
    const absl::string_view key = ToView(it->key()).substr(1);
    const absl::string_view stored = ToView(it->value());
    if (stored.size() < kVersionBytes) return BadRecordError(key);
    Record record;
    record.key = std::string(key);
    record.value = std::string(stored.substr(kVersionBytes));
    WDELTA_ASSIGN_OR_RETURN(record.version, ByteReader(stored).ReadU64("version"));
    page.records.push_back(std::move(record));
    request.reverse ? it->Prev() : it->Next();
  }
  page.more = it->Valid();
  WDELTA_RETURN_IF_ERROR(database_->ToStatus(it->status(), "scan"));
  return page;
}

absl::StatusOr<uint64_t> RocksdbCatalog::Apply(const Commit& commit) {
  WDELTA_RETURN_IF_ERROR(CheckCommit(commit));
  WaitingCommit mine{&commit};
  {
    absl::MutexLock lock(&waiting_mutex_);
    waiting_.push_back(&mine);
  }
  // While one thread waits for the disk, the others come to this lock; the next to have it writes
  // what has gathered, for all of them.
  absl::MutexLock lock(&mutex_);
  while (!mine.result.has_value()) ApplyTogether(TakeWaiting());
  return *std::move(mine.result);
}

std::vector<RocksdbCatalog::WaitingCommit*> RocksdbCatalog::TakeWaiting() {
  absl::MutexLock lock(&waiting_mutex_);
  std::vector<WaitingCommit*> taken;
  size_t bytes = 0;
  while (!waiting_.empty() && bytes < limits::kMaxCommitGroupBytes) {
    taken.push_back(waiting_.front());
    for (const Commit::Put& put : waiting_.front()->commit->puts) bytes += put.value.size();
    waiting_.pop_front();
  }
  return taken;
}

void RocksdbCatalog::ApplyTogether(absl::Span<WaitingCommit* const> commits) {
  absl::Status written = Repair();
  if (written.ok()) {
    RocksdbCommitGroup group(revision_, [this](absl::string_view key) { return ReadVersion(key); });
    for (WaitingCommit* const each : commits) each->result = group.Add(*each->commit);
    written = Write(group);
  }
  if (written.ok()) return;
  // Whatever some were told of the others did not come to be.
  for (WaitingCommit* const each : commits) each->result = written;
}

absl::Status RocksdbCatalog::Write(RocksdbCommitGroup& group) {
  if (group.IsEmpty()) return absl::OkStatus();
  Failpoint("catalog.commit.before");
  const absl::Status written = database_->Write(group.batch(), "apply");
  Failpoint("catalog.commit.after");
  if (written.ok()) {
    Publish(group.TakeChanges(), group.revision());
  } else {
    uncertain_ = group.TakeChanges();
    uncertain_revision_ = group.revision();
  }
  return written;
}

void RocksdbCatalog::Publish(std::vector<std::vector<Change>> commits, uint64_t last_revision) {
  uint64_t revision = last_revision - commits.size();
  for (std::vector<Change>& changes : commits) changes_.Append(std::move(changes), ++revision);
  revision_ = last_revision;
}

absl::Status RocksdbCatalog::Repair() {
  WDELTA_ASSIGN_OR_RETURN(const bool is_repaired, database_->Repair());
  if (!is_repaired) return absl::OkStatus();
  // The commits that failed may be there all the same: all of them, or none.
  WDELTA_ASSIGN_OR_RETURN(const uint64_t revision, ReadRevision(*database_));
  if (revision > revision_ && revision == uncertain_revision_) {
    Publish(std::move(uncertain_), revision);
  }
  uncertain_.clear();
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> RocksdbCatalog::CurrentRevision() { return revision_.load(); }

absl::StatusOr<std::unique_ptr<Watcher>> RocksdbCatalog::Watch(std::string prefix,
                                                               uint64_t after_revision) {
  return changes_.Watch(std::move(prefix), after_revision);
}

absl::Status RocksdbCatalog::Freeze(const std::string& path) {
  const RocksdbDatabase::Lease db = database_->Borrow();
  rocksdb::Checkpoint* made = nullptr;
  WDELTA_RETURN_IF_ERROR(
      database_->ToStatus(rocksdb::Checkpoint::Create(&*db, &made), "checkpoint"));
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
  return database_->ToStatus(checkpoint->CreateCheckpoint(path), absl::StrCat("checkpoint ", path));
}

absl::StatusOr<std::string> RocksdbCatalog::Identity() {
  std::string identity;
  WDELTA_RETURN_IF_ERROR(
      database_->ToStatus(database_->Borrow()->GetDbIdentity(identity), "identity"));
  return identity;
}

}  // namespace wdelta
