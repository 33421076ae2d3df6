#include "storage/engine/content/chunk_cache.h"

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"
#include "storage/base/limits.h"

namespace wdelta {
namespace {

constexpr uint64_t kEntryBytes = 100 + limits::kCacheEntryBytes;

ChunkKey KeyOf(uint64_t offset, const char* model = "model") {
  return {Digest::Of(model), 3, offset, 100};
}

ChunkCache::Bytes BytesOf(size_t size, char fill) {
  return std::make_shared<const std::string>(size, fill);
}

TEST(ChunkCacheTest, FindsWhatWasInsertedUnderTheSameKeyOnly) {
  ChunkCache cache(10 * kEntryBytes);
  EXPECT_EQ(cache.Find(KeyOf(0)), nullptr);
  const ChunkCache::Bytes bytes = BytesOf(100, 'a');
  cache.Insert(KeyOf(0), bytes);
  EXPECT_EQ(cache.Find(KeyOf(0)), bytes);
  EXPECT_EQ(cache.Find(KeyOf(100)), nullptr);
  EXPECT_EQ(cache.Find(KeyOf(0, "other")), nullptr);
  cache.Insert(KeyOf(0), BytesOf(100, 'b'));
  EXPECT_EQ(cache.Find(KeyOf(0)), bytes);
  EXPECT_EQ(cache.size_bytes(), kEntryBytes);
}

TEST(ChunkCacheTest, NeverHoldsMoreThanItMay) {
  constexpr uint64_t kCapacityBytes = 1050 + 4 * limits::kCacheEntryBytes;
  ChunkCache cache(kCapacityBytes);
  for (uint64_t i = 0; i < 1000; ++i) {
    cache.Insert(KeyOf(i), BytesOf(1 + i % 200, 'x'));
    ASSERT_LE(cache.size_bytes(), kCapacityBytes);
    ASSERT_NE(cache.Find(KeyOf(i)), nullptr);
  }
  cache.Insert(KeyOf(5000), BytesOf(kCapacityBytes, 'x'));
  EXPECT_EQ(cache.Find(KeyOf(5000)), nullptr);
  ChunkCache none(0);
  none.Insert(KeyOf(1), BytesOf(1, 'x'));
  EXPECT_EQ(none.Find(KeyOf(1)), nullptr);
}

TEST(ChunkCacheTest, MemoryThatWaitsForChunksIsPartOfItsCapacity) {
  EXPECT_EQ(ChunkCache(64 * limits::kChunkBytes).stats().capacity_bytes, 60 * limits::kChunkBytes);
  EXPECT_EQ(ChunkCache(10'000 * limits::kChunkBytes).stats().capacity_bytes,
            (10'000 - limits::kMaxIdleChunks) * limits::kChunkBytes);
}

TEST(ChunkCacheTest, CountsHitsMissesAndEvictions) {
  ChunkCache cache(2 * kEntryBytes);
  const int source = 0;
  const auto ask = [&](uint64_t offset) {
    const auto bytes = cache.FindOrDecode(KeyOf(offset), &source, ChunkCache::Keep::kAlways,
                                          [](char* destination) {
                                            std::memset(destination, 'x', 100);
                                            return absl::OkStatus();
                                          });
    ASSERT_TRUE(bytes.ok()) << bytes.status();
  };
  ask(0);
  ask(100);
  ask(0);
  EXPECT_EQ(cache.Find(KeyOf(999)), nullptr);  // a look, which nobody decodes for
  ChunkCache::Stats stats = cache.stats();
  EXPECT_EQ(stats.hits, 1u);
  EXPECT_EQ(stats.misses, 2u);
  EXPECT_EQ(stats.evictions, 0u);
  EXPECT_EQ(stats.entries, 2u);
  EXPECT_EQ(stats.size_bytes, 2 * kEntryBytes);
  EXPECT_EQ(stats.capacity_bytes, 2 * kEntryBytes);
  ask(200);
  stats = cache.stats();
  EXPECT_EQ(stats.misses, 3u);
  EXPECT_EQ(stats.evictions, 1u);
  EXPECT_EQ(stats.entries, 2u);
}

TEST(ChunkCacheTest, RepeatedScansOfMoreThanItHoldsStillHit) {
  ChunkCache cache(80 * kEntryBytes);
  int hits = 0;
  for (int scan = 0; scan < 20; ++scan) {
    for (uint64_t chunk = 0; chunk < 100; ++chunk) {
      if (cache.Find(KeyOf(chunk)) != nullptr) {
        ++hits;
      } else {
        cache.Insert(KeyOf(chunk), BytesOf(100, 'x'));
      }
    }
  }
  EXPECT_GT(hits, 19 * 100 / 2);
}

constexpr int kSource = 0;

absl::Status Fill(char* destination, char fill) {
  std::memset(destination, fill, 100);
  return absl::OkStatus();
}

TEST(ChunkCacheTest, DecodesOnceForAllThreadsThatAskAtOnce) {
  ChunkCache cache(0);  // keeps nothing: whoever comes later decodes again
  constexpr int kThreads = 4;
  absl::Notification started;
  std::atomic<int> decoded{0};
  std::vector<std::string> read(kThreads, std::string(100, '\0'));
  std::vector<std::thread> threads;
  const auto ask = [&](int i) {
    EXPECT_TRUE(cache
                    .Read(KeyOf(0), &kSource, read[i].data(),
                          [&](char* destination) {
                            ++decoded;
                            started.Notify();
                            while (cache.waiting() < kThreads - 1) std::this_thread::yield();
                            return Fill(destination, 'a');
                          })
                    .ok());
  };
  threads.emplace_back(ask, 0);
  started.WaitForNotification();
  for (int i = 1; i < kThreads; ++i) threads.emplace_back(ask, i);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(decoded, 1);
  for (const std::string& bytes : read) EXPECT_EQ(bytes, std::string(100, 'a'));
}

TEST(ChunkCacheTest, WhoWaitedForAFailureDecodesItself) {
  ChunkCache cache(10 * kEntryBytes);
  absl::Notification started;
  std::thread failing([&] {
    std::string bytes(100, '\0');
    EXPECT_EQ(cache.Read(KeyOf(0), &kSource, bytes.data(),
                         [&](char*) {
                           started.Notify();
                           while (cache.waiting() < 1) std::this_thread::yield();
                           return absl::DataLossError("damaged");
                         }),
              absl::DataLossError("damaged"));
  });
  started.WaitForNotification();
  const absl::StatusOr<ChunkCache::Bytes> found =
      cache.FindOrDecode(KeyOf(0), &kSource, ChunkCache::Keep::kAlways,
                         [](char* destination) { return Fill(destination, 'b'); });
  failing.join();
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(**found, std::string(100, 'b'));
}

TEST(ChunkCacheTest, KeepsWhatIsReadAgainSoon) {
  ChunkCache cache(10 * kEntryBytes);
  std::string bytes(100, '\0');
  const auto read = [&](uint64_t chunk) {
    return cache.Read(KeyOf(chunk), &kSource, bytes.data(),
                      [](char* destination) { return Fill(destination, 'c'); });
  };
  ASSERT_TRUE(read(0).ok());
  EXPECT_EQ(cache.Find(KeyOf(0)), nullptr);
  ASSERT_TRUE(read(0).ok());
  ASSERT_NE(cache.Find(KeyOf(0)), nullptr);
  EXPECT_EQ(*cache.Find(KeyOf(0)), bytes);
  // More than twice what it holds lies between the two readings.
  for (uint64_t chunk = 1; chunk <= 30; ++chunk) ASSERT_TRUE(read(chunk).ok());
  ASSERT_TRUE(read(1).ok());
  EXPECT_EQ(cache.Find(KeyOf(1)), nullptr);
}

}  // namespace
}  // namespace wdelta
