#include "storage/blobs/rocksdb_blob_store.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "rocksdb/cache.h"
#include "rocksdb/file_checksum.h"
#include "rocksdb/filter_policy.h"
#include "rocksdb/options.h"
#include "rocksdb/perf_context.h"
#include "rocksdb/table.h"
#include "rocksdb/utilities/checkpoint.h"
#include "rocksdb/write_batch.h"
#include "rocksdb/write_buffer_manager.h"
#include "storage/base/byte_reader.h"
#include "storage/base/failpoint.h"
#include "storage/base/status_macros.h"
#include "storage/blobs/blob_checks.h"

namespace wdelta {

// How a blob lies in the database.
struct RocksdbBlobStore::Layout {
  uint64_t size_bytes = 0;
  uint64_t part_bytes = 0;  // of all parts but the last; not 0
  bool has_parts = false;
};

namespace {

// s<digest> -> size as u64 and size of a part as u32, beside the other sizes, so that
// Stat and List touch no data; d<digest><part as big-endian u32> -> the bytes of a
// part. All are written and deleted in one batch. In data folders of format 1 the size
// stands alone and d<digest> holds the whole blob.
constexpr char kSizePrefix = 's';
constexpr absl::string_view kAfterAllSizes = "t";
// RocksDB reads and verifies values whole: a read of a range costs the parts that it
// touches.
constexpr uint32_t kPartBytes = 64 * limits::kKiB;
// Smaller values lie in the tree itself.
constexpr uint64_t kMinBlobFileValueBytes = 4 * limits::kKiB;
// Every pass moves the blobs of the oldest quarter of the files, so that the disk
// holds at most a quarter of the store twice.
constexpr double kReclaimAgeCutoff = 0.25;
constexpr int kReclaimPasses = 4;

std::string SizeKey(const Digest& digest) { return absl::StrCat("s", digest.ToBytes()); }

// Big-endian, so that the parts of a blob lie in order.
std::string DataKey(const Digest& digest, const RocksdbBlobStore::Layout& layout, uint64_t part) {
  std::string key = absl::StrCat("d", digest.ToBytes());
  if (!layout.has_parts) return key;
  for (int shift = 24; shift >= 0; shift -= 8) key.push_back(static_cast<char>(part >> shift));
  return key;
}

rocksdb::Slice ToSlice(absl::string_view text) { return {text.data(), text.size()}; }

absl::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

rocksdb::Options MakeOptions(const RocksdbBlobStoreOptions& options) {
  rocksdb::Options db_options;
  db_options.env = options.env;
  db_options.create_if_missing = true;
  db_options.paranoid_checks = true;
  db_options.max_open_files = options.max_open_files;
  db_options.IncreaseParallelism(options.background_threads);
  db_options.bytes_per_sync = limits::kMiB;

  // Two memtables: one fills while the other is written out; a third Put waits.
  db_options.write_buffer_size = options.memtable_bytes / 2;
  db_options.max_write_buffer_number = 2;
  db_options.write_buffer_manager =
      std::make_shared<rocksdb::WriteBufferManager>(options.memtable_bytes);

  // Blobs are compressed already.
  db_options.compression = rocksdb::kNoCompression;
  db_options.enable_blob_files = true;
  db_options.min_blob_size = kMinBlobFileValueBytes;
  db_options.blob_compression_type = rocksdb::kNoCompression;
  // Keys are digests, so every compaction spans the whole store: RocksDB's own
  // collection would move a quarter of all blobs at each. Reclaim() does it when
  // enough is dead.
  db_options.enable_blob_garbage_collection = false;
  // A backup names blob files by their checksum, and would read them all to know it.
  db_options.file_checksum_gen_factory = rocksdb::GetFileChecksumGenCrc32cFactory();
  // One shard: a blob must fit into one.
  db_options.blob_cache = rocksdb::NewLRUCache(options.blob_cache_bytes, /*num_shard_bits=*/0);

  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(options.block_cache_bytes, /*num_shard_bits=*/2);
  table.cache_index_and_filter_blocks = true;
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

// What is kept in caches was verified: other readers may rely on it. So a value whose index or
// filter had to be read from the disk is got once more, with a look at the checksums, for the
// cache to have them.
rocksdb::Status GetUnverified(rocksdb::DB& db, const std::string& key,
                              rocksdb::PinnableSlice& value) {
  rocksdb::ReadOptions read;
  read.verify_checksums = false;
  read.fill_cache = false;
  const uint64_t blocks_before = rocksdb::get_perf_context()->block_read_count;  // this thread's
  const rocksdb::Status status = db.Get(read, db.DefaultColumnFamily(), key, &value);
  if (!status.ok() || rocksdb::get_perf_context()->block_read_count == blocks_before) return status;
  value.Reset();
  return db.Get(VerifyingRead(), db.DefaultColumnFamily(), key, &value);
}

absl::StatusOr<RocksdbBlobStore::Layout> ParseLayout(absl::string_view value) {
  constexpr absl::string_view kField = "blob size record";
  ByteReader reader(value);
  RocksdbBlobStore::Layout layout;
  WDELTA_ASSIGN_OR_RETURN(layout.size_bytes, reader.ReadU64(kField));
  layout.part_bytes = std::max<uint64_t>(layout.size_bytes, 1);
  if (reader.remaining() == 0) return layout;
  layout.has_parts = true;
  WDELTA_ASSIGN_OR_RETURN(layout.part_bytes, reader.ReadU32(kField));
  if (layout.part_bytes == 0 || reader.remaining() != 0) {
    return absl::DataLossError(absl::StrCat(kField, ": expected a size and the size of a part"));
  }
  return layout;
}

uint64_t PartCount(const RocksdbBlobStore::Layout& layout) {
  if (!layout.has_parts) return 1;
  return layout.size_bytes / layout.part_bytes + (layout.size_bytes % layout.part_bytes != 0);
}

RocksdbDatabaseOptions DatabaseOptionsFor(const std::string& path,
                                          const RocksdbBlobStoreOptions& options) {
  return {options, absl::StrCat("blob store ", path), path, MakeOptions(options)};
}

}  // namespace

absl::Status RocksdbBlobStore::CheckComplete(const std::string& path,
                                             const RocksdbBlobStoreOptions& options) {
  return RocksdbDatabase::CheckComplete(DatabaseOptionsFor(path, options));
}

absl::StatusOr<std::unique_ptr<RocksdbBlobStore>> RocksdbBlobStore::Open(
    const std::string& path, const RocksdbBlobStoreOptions& options) {
  WDELTA_ASSIGN_OR_RETURN(auto database, RocksdbDatabase::Open(DatabaseOptionsFor(path, options)));
  return std::unique_ptr<RocksdbBlobStore>(new RocksdbBlobStore(options, std::move(database)));
}

RocksdbBlobStore::RocksdbBlobStore(const RocksdbBlobStoreOptions& options,
                                   std::unique_ptr<RocksdbDatabase> database)
    : options_(options), database_(std::move(database)) {
  // What an earlier process deleted and did not reclaim is not counted anywhere.
  deleted_bytes_ = options_.reclaim_after_bytes;
  if (options_.is_read_only) return;
  reclaimer_ = std::thread([this] { ReclaimInBackground(); });
}

RocksdbBlobStore::~RocksdbBlobStore() {
  {
    absl::MutexLock lock(&reclaim_mutex_);
    stopping_ = true;
  }
  database_->Borrow()->DisableManualCompaction();
  if (reclaimer_.joinable()) reclaimer_.join();
}

absl::Mutex& RocksdbBlobStore::WriteLockOf(const Digest& digest) {
  return write_locks_[static_cast<uint8_t>(digest.ToBytes().front()) % write_locks_.size()];
}

absl::StatusOr<std::optional<RocksdbBlobStore::Layout>> RocksdbBlobStore::ReadLayout(
    const Digest& digest) const {
  std::string value;
  const rocksdb::Status status = database_->Borrow()->Get(VerifyingRead(), SizeKey(digest), &value);
  if (status.IsNotFound()) return std::optional<Layout>();
  WDELTA_RETURN_IF_ERROR(
      database_->ToStatus(status, absl::StrCat("size of blob ", digest.ToHex())));
  WDELTA_ASSIGN_OR_RETURN(const Layout layout, ParseLayout(value));
  return std::optional<Layout>(layout);
}

absl::StatusOr<PutResult> RocksdbBlobStore::Put(const Digest& digest, absl::string_view data) {
  WDELTA_RETURN_IF_ERROR(CheckBlob(digest, data));
  WDELTA_RETURN_IF_ERROR(database_->Repair().status());
  absl::MutexLock lock(&WriteLockOf(digest));
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Layout> found, ReadLayout(digest));
  if (found.has_value()) {
    const absl::StatusOr<std::string> stored = Get(digest, 0, found->size_bytes);
    if (stored.ok() && *stored == data) return PutResult::kExisted;
    if (!stored.ok() && !absl::IsDataLoss(stored.status()) && !absl::IsNotFound(stored.status())) {
      return stored.status();
    }
  }
  const Layout layout{data.size(), kPartBytes, true};
  std::string size;
  AppendU64(size, layout.size_bytes);
  AppendU32(size, kPartBytes);
  rocksdb::WriteBatch batch(data.size() + 64 * (PartCount(layout) + 1));
  rocksdb::Status status;
  for (uint64_t part = 0; found.has_value() && part < PartCount(*found) && status.ok(); ++part) {
    status = batch.Delete(DataKey(digest, *found, part));
  }
  if (status.ok()) status = batch.Put(SizeKey(digest), size);
  for (uint64_t part = 0; part < PartCount(layout) && status.ok(); ++part) {
    status = batch.Put(DataKey(digest, layout, part),
                       ToSlice(data.substr(part * kPartBytes, kPartBytes)));
  }
  const std::string operation = absl::StrCat("put of blob ", digest.ToHex());
  WDELTA_RETURN_IF_ERROR(database_->ToStatus(status, operation));
  Failpoint("blob.put.before");
  WDELTA_RETURN_IF_ERROR(database_->Write(batch, operation));
  Failpoint("blob.put.after");
  return found.has_value() ? PutResult::kReplaced : PutResult::kCreated;
}

absl::StatusOr<std::string> RocksdbBlobStore::Get(const Digest& digest, uint64_t offset,
                                                  uint64_t size) {
  WDELTA_RETURN_IF_ERROR(CheckBlobRange(digest, 0, size, limits::kMaxBlobBytes));
  std::string bytes(size, '\0');
  WDELTA_RETURN_IF_ERROR(Read(digest, offset, size, /*is_verified=*/true, bytes.data()));
  return bytes;
}

absl::Status RocksdbBlobStore::ReadUnverified(const Digest& digest, uint64_t offset, uint64_t size,
                                              char* destination) {
  return Read(digest, offset, size, /*is_verified=*/false, destination);
}

absl::Status RocksdbBlobStore::Read(const Digest& digest, uint64_t offset, uint64_t size,
                                    bool is_verified, char* destination) {
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Layout> layout, ReadLayout(digest));
  if (!layout.has_value()) return BlobNotFoundError(digest);
  WDELTA_RETURN_IF_ERROR(CheckBlobRange(digest, offset, size, layout->size_bytes));
  const RocksdbDatabase::Lease db = database_->Borrow();
  const uint64_t end = offset + size;
  while (offset < end) {
    const uint64_t part = offset / layout->part_bytes;
    const uint64_t part_begin = part * layout->part_bytes;
    const uint64_t part_bytes = std::min(layout->part_bytes, layout->size_bytes - part_begin);
    const uint64_t skip = offset - part_begin;
    rocksdb::PinnableSlice value;
    const std::string key = DataKey(digest, *layout, part);
    const rocksdb::Status status =
        is_verified ? db->Get(VerifyingRead(), db->DefaultColumnFamily(), key, &value)
                    : GetUnverified(*db, key, value);
    // Deleted since its size was read.
    if (status.IsNotFound()) return BlobNotFoundError(digest);
    WDELTA_RETURN_IF_ERROR(
        database_->ToStatus(status, absl::StrCat("get of blob ", digest.ToHex())));
    if (value.size() != part_bytes) {
      return absl::DataLossError(absl::StrCat(database_->name(), ": blob ", digest.ToHex(),
                                              ", part ", part, ": expected ", part_bytes,
                                              " bytes, found ", value.size()));
    }
    const uint64_t wanted = std::min(part_bytes - skip, end - offset);
    std::memcpy(destination, value.data() + skip, wanted);
    destination += wanted;
    offset += wanted;
  }
  return absl::OkStatus();
}

absl::StatusOr<BlobInfo> RocksdbBlobStore::Stat(const Digest& digest) {
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Layout> layout, ReadLayout(digest));
  if (!layout.has_value()) return BlobNotFoundError(digest);
  return BlobInfo{digest, layout->size_bytes};
}

absl::StatusOr<BlobPage> RocksdbBlobStore::List(const std::string& after_hex, uint32_t limit) {
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Digest> after, CheckBlobList(after_hex, limit));
  const std::string begin = after.has_value() ? SizeKey(*after) : std::string(1, kSizePrefix);
  const rocksdb::Slice end = ToSlice(kAfterAllSizes);
  rocksdb::ReadOptions read = VerifyingRead();
  read.iterate_upper_bound = &end;
  const RocksdbDatabase::Lease db = database_->Borrow();
  const std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(read));
  it->Seek(begin);
  if (it->Valid() && after.has_value() && it->key() == rocksdb::Slice(begin)) it->Next();

  BlobPage page;
  for (; it->Valid() && page.blobs.size() < limit; it->Next()) {
    BlobInfo info;
    const absl::string_view key = ToView(it->key());
    const absl::StatusOr<Digest> digest = Digest::FromBytes(key.substr(1));
    if (!digest.ok()) {
      return absl::DataLossError(absl::StrCat(database_->name(), ": expected keys of ",
                                              kDigestBytes + 1, " bytes, found ", key.size()));
    }
    info.digest = *digest;
    WDELTA_ASSIGN_OR_RETURN(const RocksdbBlobStore::Layout layout,
                            ParseLayout(ToView(it->value())));
    info.size_bytes = layout.size_bytes;
    page.blobs.push_back(info);
  }
  page.more = it->Valid();
  WDELTA_RETURN_IF_ERROR(database_->ToStatus(it->status(), "list"));
  return page;
}

absl::Status RocksdbBlobStore::Delete(const Digest& digest) {
  std::optional<Layout> layout;
  WDELTA_RETURN_IF_ERROR(database_->Repair().status());
  {
    absl::MutexLock lock(&WriteLockOf(digest));
    WDELTA_ASSIGN_OR_RETURN(layout, ReadLayout(digest));
    if (!layout.has_value()) return absl::OkStatus();
    rocksdb::WriteBatch batch;
    rocksdb::Status status = batch.Delete(SizeKey(digest));
    for (uint64_t part = 0; part < PartCount(*layout) && status.ok(); ++part) {
      status = batch.Delete(DataKey(digest, *layout, part));
    }
    const std::string operation = absl::StrCat("delete of blob ", digest.ToHex());
    WDELTA_RETURN_IF_ERROR(database_->ToStatus(status, operation));
    Failpoint("blob.delete.before");
    WDELTA_RETURN_IF_ERROR(database_->Write(batch, operation));
    Failpoint("blob.delete.after");
  }
  absl::MutexLock lock(&reclaim_mutex_);
  deleted_bytes_ += layout->size_bytes;
  return absl::OkStatus();
}

bool RocksdbBlobStore::HasTooMuchGarbage(rocksdb::DB& db) const {
  uint64_t total_bytes = 0;
  uint64_t garbage_bytes = 0;
  db.GetIntProperty(rocksdb::DB::Properties::kLiveBlobFileSize, &total_bytes);
  db.GetIntProperty(rocksdb::DB::Properties::kLiveBlobFileGarbageSize, &garbage_bytes);
  return static_cast<double>(garbage_bytes) >
         options_.max_garbage_ratio * static_cast<double>(total_bytes);
}

absl::Status RocksdbBlobStore::Reclaim() {
  // Deletions reach the references first; blob files that nothing refers to any
  // more go at once, and the dead bytes of the others become known.
  const RocksdbDatabase::Lease db = database_->Borrow();
  WDELTA_RETURN_IF_ERROR(database_->ToStatus(db->Flush(rocksdb::FlushOptions()), "flush"));
  rocksdb::CompactRangeOptions compact;
  compact.exclusive_manual_compaction = false;
  WDELTA_RETURN_IF_ERROR(
      database_->ToStatus(db->CompactRange(compact, nullptr, nullptr), "compact"));

  compact.blob_garbage_collection_policy = rocksdb::BlobGarbageCollectionPolicy::kForce;
  compact.blob_garbage_collection_age_cutoff = kReclaimAgeCutoff;
  compact.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
  for (int pass = 0; pass < kReclaimPasses && HasTooMuchGarbage(*db); ++pass) {
    WDELTA_RETURN_IF_ERROR(
        database_->ToStatus(db->CompactRange(compact, nullptr, nullptr), "reclaim"));
  }
  return absl::OkStatus();
}

absl::Status RocksdbBlobStore::Freeze(const std::string& path) {
  const RocksdbDatabase::Lease db = database_->Borrow();
  rocksdb::Checkpoint* made = nullptr;
  WDELTA_RETURN_IF_ERROR(
      database_->ToStatus(rocksdb::Checkpoint::Create(&*db, &made), "checkpoint"));
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
  return database_->ToStatus(checkpoint->CreateCheckpoint(path), absl::StrCat("checkpoint ", path));
}

bool RocksdbBlobStore::ShouldReclaimOrStop() const {
  return stopping_ || deleted_bytes_ >= options_.reclaim_after_bytes;
}

void RocksdbBlobStore::ReclaimInBackground() {
  while (true) {
    {
      absl::MutexLock lock(&reclaim_mutex_);
      reclaim_mutex_.Await(absl::Condition(this, &RocksdbBlobStore::ShouldReclaimOrStop));
      if (stopping_) return;
      deleted_bytes_ = 0;
    }
    // A failed one has no caller to tell; the next one takes up what it left, and
    // what stops RocksDB itself shows in the next write.
    Reclaim().IgnoreError();
  }
}

}  // namespace wdelta
