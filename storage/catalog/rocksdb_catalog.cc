#include "storage/catalog/rocksdb_catalog.h"

#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "rocksdb/cache.h"
#include "rocksdb/filter_policy.h"
#include "rocksdb/options.h"
#include "rocksdb/table.h"
#include "rocksdb/utilities/checkpoint.h"
#include "rocksdb/write_batch.h"
#include "rocksdb/write_buffer_manager.h"
#include "storage/base/byte_reader.h"
#include "storage/base/failpoint.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/commit_checks.h"

namespace wdelta {
namespace {

// r<key> -> version as u64, then the value. m/revision -> the last revision as u64.
constexpr absl::string_view kRevisionKey = "m/revision";
constexpr absl::string_view kAfterAllRecords = "s";
constexpr size_t kVersionBytes = sizeof(uint64_t);
constexpr int kCacheShardBits = 2;

std::string RecordKey(absl::string_view key) { return absl::StrCat("r", key); }

rocksdb::Slice ToSlice(absl::string_view text) { return {text.data(), text.size()}; }

absl::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

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

std::string EncodeU64(uint64_t value) {
  std::string encoded;
  AppendU64(encoded, value);
  return encoded;
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

}  // namespace

absl::StatusOr<std::unique_ptr<RocksdbCatalog>> RocksdbCatalog::Open(
    const std::string& path, const RocksdbCatalogOptions& options) {
  WDELTA_ASSIGN_OR_RETURN(
      auto database,
      RocksdbDatabase::Open(absl::StrCat("catalog ", path), path, MakeOptions(options),
                            options.is_read_only, options.warn, options.probe_pause));
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
  absl::MutexLock lock(&mutex_);
  WDELTA_RETURN_IF_ERROR(Repair());
  for (const Commit::Condition& condition : commit.conditions) {
    WDELTA_ASSIGN_OR_RETURN(const uint64_t version, ReadVersion(condition.key));
    WDELTA_RETURN_IF_ERROR(CheckCondition(condition, version));
  }
  if (commit.puts.empty() && commit.deletes.empty()) return revision_;

  const uint64_t revision = revision_ + 1;
  const std::string version = EncodeU64(revision);
  std::vector<Change> changes;
  rocksdb::WriteBatch batch;
  rocksdb::Status status = batch.Put(ToSlice(kRevisionKey), version);
  for (const Commit::Put& put : commit.puts) {
    if (!status.ok()) break;
    status = batch.Put(RecordKey(put.key), absl::StrCat(version, put.value));
    changes.push_back({put.key, put.value, revision});
  }
  absl::flat_hash_set<absl::string_view> deleted;
  for (const std::string& key : commit.deletes) {
    if (!status.ok()) break;
    WDELTA_ASSIGN_OR_RETURN(const uint64_t found, ReadVersion(key));
    if (found == 0 || !deleted.insert(key).second) continue;
    status = batch.Delete(RecordKey(key));
    changes.push_back({key, std::nullopt, revision});
  }
  WDELTA_RETURN_IF_ERROR(database_->ToStatus(status, "apply"));
  Failpoint("catalog.commit.before");
  const absl::Status applied = database_->Write(batch, "apply");
  Failpoint("catalog.commit.after");
  if (!applied.ok()) {
    uncertain_ = std::move(changes);
    return applied;
  }
  revision_ = revision;
  changes_.Append(std::move(changes), revision);
  return revision;
}

absl::Status RocksdbCatalog::Repair() {
  WDELTA_ASSIGN_OR_RETURN(const bool is_repaired, database_->Repair());
  if (!is_repaired) return absl::OkStatus();
  // The commit that failed may be there all the same.
  WDELTA_ASSIGN_OR_RETURN(const uint64_t revision, ReadRevision(*database_));
  if (revision == revision_ + 1) {
    revision_ = revision;
    changes_.Append(std::move(uncertain_), revision);
  }
  uncertain_.clear();
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> RocksdbCatalog::CurrentRevision() {
  absl::MutexLock lock(&mutex_);
  return revision_;
}

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
