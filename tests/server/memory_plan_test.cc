#include "server/memory_plan.h"

#include "gtest/gtest.h"
#include "server/rpc/admission_limits.h"
#include "storage/base/limits.h"

namespace wdelta {
namespace {

constexpr uint64_t kGiB = 1024 * limits::kMiB;

Config ConfigOf(uint64_t memory_limit_bytes) {
  Config config;
  config.memory_limit_bytes = memory_limit_bytes;
  config.codec_threads = 4;
  config.max_fetches = 64;
  config.http_max_connections = 64;
  return config;
}

TEST(MemoryPlan, FetchesThatWaitAreBoundedByMemory) {
  EXPECT_EQ(MaxWaitingFetchesFor(ConfigOf(1)), admission_limits::kMinWaitingFetches);
  EXPECT_EQ(MaxWaitingFetchesFor(ConfigOf(128 * limits::kMiB)), 64);
  EXPECT_EQ(MaxWaitingFetchesFor(ConfigOf(512 * limits::kMiB)), 256);
  EXPECT_EQ(MaxWaitingFetchesFor(ConfigOf(kGiB)), admission_limits::kMaxWaitingFetches);
}

TEST(MemoryPlan, DownloadsAreHalfOfTheFetchesAndOfTheConnections) {
  Config config = ConfigOf(64 * kGiB);
  EXPECT_EQ(MaxDownloadsFor(config), 32);
  config.http_max_connections = 10;
  EXPECT_EQ(MaxDownloadsFor(config), 5);
  config.max_fetches = 4;
  EXPECT_EQ(MaxDownloadsFor(config), 2);
  config.http_max_connections = 1;
  EXPECT_EQ(MaxDownloadsFor(config), 1);
  config.http_max_connections = 64;
  config.max_fetches = 1;
  EXPECT_EQ(MaxDownloadsFor(config), 1);
}

// What is planned for at most, but for the least that each thing needs in little memory.
TEST(MemoryPlan, SharesLeaveATwelfthToJobsAndTheProcess) {
  for (const uint64_t limit_bytes : {kGiB, 2 * kGiB, 8 * kGiB, 64 * kGiB}) {
    const Config config = ConfigOf(limit_bytes);
    const RocksdbBlobStoreOptions blobs = BlobStoreOptionsFor(config);
    const RocksdbCatalogOptions catalog = CatalogOptionsFor(config);
    const auto streams = static_cast<uint64_t>(MaxWriteStreamsFor(config));
    const auto waiting_streams = static_cast<uint64_t>(MaxWaitingWriteStreamsFor(config));
    const auto waiting_fetches = static_cast<uint64_t>(MaxWaitingFetchesFor(config));
    const uint64_t windows_bytes = limit_bytes / 64 * 24;  // of MaxFetchesFor
    const uint64_t planned_bytes =
        blobs.memtable_bytes + blobs.blob_cache_bytes + blobs.block_cache_bytes +
        catalog.memtable_bytes + catalog.block_cache_bytes + ChunkCacheBytesFor(config) +
        windows_bytes + streams * (3 * limits::kMiB + ReadAheadBytesFor(config)) +
        waiting_streams * ReadAheadBytesFor(config) +
        waiting_fetches * admission_limits::kWaitingFetchBytes;
    EXPECT_LE(planned_bytes, limit_bytes / 12 * 11) << limit_bytes;
  }
}

TEST(MemoryPlan, FewStreamsWaitInLittleMemory) {
  Config config = ConfigOf(128 * limits::kMiB);
  EXPECT_LE(static_cast<uint64_t>(MaxWaitingWriteStreamsFor(config)) * ReadAheadBytesFor(config),
            config.memory_limit_bytes / 64 * 3);
  EXPECT_GE(MaxWaitingWriteStreamsFor(config), admission_limits::kMinWaitingWriteStreams);
}

}  // namespace
}  // namespace wdelta
