#include "storage/blobs/rocksdb_blob_store.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "tests/conformance/blob_store_suite.h"
#include "tests/support/temp_folder.h"

namespace wdelta {
namespace {

namespace fs = std::filesystem;

class RocksdbHarness final : public BlobStoreHarness {
 public:
  explicit RocksdbHarness(const RocksdbBlobStoreOptions& options = {}) : options_(options) {
    Reopen();
  }
  BlobStore& store() override { return *store_; }
  RocksdbBlobStore& rocksdb_store() { return *store_; }
  const std::string& path() const { return folder_.path(); }
  void Close() { store_.reset(); }
  void Reopen() override {
    store_.reset();
    auto opened = RocksdbBlobStore::Open(folder_.path(), options_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    store_ = *std::move(opened);
  }

 private:
  const RocksdbBlobStoreOptions options_;
  TempFolder folder_;
  std::unique_ptr<RocksdbBlobStore> store_;
};

std::unique_ptr<BlobStoreHarness> NewHarness() { return std::make_unique<RocksdbHarness>(); }

INSTANTIATE_TEST_SUITE_P(Rocksdb, BlobStoreSuite, testing::Values(NewHarness));

uint64_t FileBytes(const std::string& folder, const std::string& extension) {
  uint64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == extension) bytes += entry.file_size();
  }
  return bytes;
}

TEST(RocksdbBlobStore, PutReplacesWhatIsDamaged) {
  RocksdbHarness harness;
  const std::string data(200'000, 'x');
  const Digest digest = Digest::Of(data);
  ASSERT_EQ(*harness.store().Put(digest, data), PutResult::kCreated);
  harness.Close();
  {
    rocksdb::DB* opened = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open(rocksdb::Options(), harness.path(), &opened).ok());
    const std::unique_ptr<rocksdb::DB> db(opened);
    std::string second_part_key = "d" + digest.ToBytes() + std::string("\0\0\0\1", 4);
    std::string part;
    ASSERT_TRUE(db->Get(rocksdb::ReadOptions(), second_part_key, &part).ok());
    part[7] ^= 1;
    ASSERT_TRUE(db->Put(rocksdb::WriteOptions(), second_part_key, part).ok());
  }
  harness.Reopen();
  EXPECT_NE(*harness.store().Get(digest, 0, data.size()), data);
  EXPECT_EQ(*harness.store().Put(digest, data), PutResult::kReplaced);
  EXPECT_EQ(*harness.store().Get(digest, 0, data.size()), data);
  EXPECT_EQ(*harness.store().Put(digest, data), PutResult::kExisted);
}

TEST(RocksdbBlobStore, RefusesAFolderInUse) {
  RocksdbHarness harness;
  const auto second = RocksdbBlobStore::Open(harness.path());
  ASSERT_FALSE(second.ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status())) << second.status();
  EXPECT_EQ(ErrorReason(second.status()), "DATA_DIR_IN_USE");
  EXPECT_THAT(std::string(second.status().message()), testing::HasSubstr(harness.path()));
}

TEST(RocksdbBlobStore, GivesBackTheSpaceOfDeletedBlobs) {
  constexpr int kBlobs = 40;
  constexpr uint64_t kBlobBytes = limits::kMiB;
  RocksdbBlobStoreOptions options;
  options.memtable_bytes = 8 * limits::kMiB;
  options.reclaim_after_bytes = 1024 * limits::kMiB;  // only when the test says so
  RocksdbHarness harness(options);
  std::vector<Digest> digests;
  for (int i = 0; i < kBlobs; ++i) {
    const std::string data = RandomBytes(kBlobBytes, 9000 + i);
    digests.push_back(Digest::Of(data));
    ASSERT_TRUE(harness.store().Put(digests.back(), data).ok());
  }
  ASSERT_TRUE(harness.rocksdb_store().Reclaim().ok());
  EXPECT_GE(FileBytes(harness.path(), ".blob"), kBlobs * kBlobBytes);

  // Every file keeps one live blob of four, so none goes without moving blobs.
  for (int i = 0; i < kBlobs; ++i) {
    if (i % 4 == 0) continue;
    ASSERT_TRUE(harness.store().Delete(digests[i]).ok());
  }
  const absl::Status reclaimed = harness.rocksdb_store().Reclaim();
  ASSERT_TRUE(reclaimed.ok()) << reclaimed;
  harness.Reopen();
  EXPECT_LE(FileBytes(harness.path(), ".blob"), kBlobs / 2 * kBlobBytes);
  for (int i = 0; i < kBlobs; ++i) {
    const auto found = harness.store().Get(digests[i], 0, kBlobBytes);
    if (i % 4 == 0) {
      ASSERT_TRUE(found.ok()) << found.status();
      EXPECT_EQ(Digest::Of(*found), digests[i]);
    } else {
      EXPECT_TRUE(absl::IsNotFound(found.status()));
    }
  }
}

TEST(RocksdbBlobStore, SaysDataLossForAFlippedBit) {
  RocksdbBlobStoreOptions options;
  options.blob_cache_bytes = 0;
  RocksdbHarness harness(options);
  const std::string data = RandomBytes(limits::kMiB, 77);
  const Digest digest = Digest::Of(data);
  ASSERT_TRUE(harness.store().Put(digest, data).ok());
  ASSERT_TRUE(harness.rocksdb_store().Reclaim().ok());  // writes the blob file
  harness.Close();

  fs::path blob_file;
  for (const auto& entry : fs::directory_iterator(harness.path())) {
    if (entry.path().extension() == ".blob") blob_file = entry.path();
  }
  ASSERT_FALSE(blob_file.empty());
  {
    std::fstream file(blob_file, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(500'000);
    const char found = static_cast<char>(file.get());
    file.seekp(500'000);
    file.put(static_cast<char>(found ^ 1));
  }
  harness.Reopen();
  EXPECT_TRUE(absl::IsDataLoss(harness.store().Get(digest, 0, data.size()).status()));
  // Parts without the damage stay readable.
  int intact = 0;
  constexpr uint64_t kStride = 4 * limits::kKiB;
  for (uint64_t offset = 0; offset < data.size(); offset += kStride) {
    const auto found = harness.store().Get(digest, offset, kStride);
    if (found.ok()) {
      EXPECT_TRUE(*found == data.substr(offset, kStride)) << offset;
      ++intact;
    } else {
      EXPECT_TRUE(absl::IsDataLoss(found.status())) << found.status();
    }
  }
  EXPECT_EQ(intact, 240);  // all of 256 but a part of 64 KiB
  EXPECT_TRUE(harness.store().Stat(digest).ok());
}

TEST(RocksdbBlobStore, TellsOfItselfAndKeepsCountsWhenItIsReadAgain) {
  RocksdbHarness harness;
  const std::string data(200'000, 'x');
  const Digest digest = Digest::Of(data);
  ASSERT_TRUE(harness.store().Put(digest, data).ok());
  DatabaseStats stats = harness.rocksdb_store().Stats();
  EXPECT_GE(stats.log_bytes, data.size());
  EXPECT_GE(stats.log_syncs, 1u);
  EXPECT_GE(stats.memtable_bytes, data.size());
  EXPECT_GT(stats.block_cache.capacity_bytes, 0u);
  EXPECT_GT(stats.blob_cache.capacity_bytes, 0u);
  EXPECT_FALSE(stats.is_write_stopped);

  // From files from here on.
  harness.Reopen();
  ASSERT_TRUE(harness.store().Get(digest, 0, data.size()).ok());
  stats = harness.rocksdb_store().Stats();
  EXPECT_GT(stats.blob_cache.misses, 0u);
  EXPECT_GT(stats.live_file_bytes, data.size());
  const uint64_t hits = stats.blob_cache.hits;
  ASSERT_TRUE(harness.store().Get(digest, 0, data.size()).ok());
  stats = harness.rocksdb_store().Stats();
  EXPECT_GT(stats.blob_cache.hits, hits);
  EXPECT_GT(stats.blob_cache.size_bytes, 0u);
}

}  // namespace
}  // namespace wdelta
