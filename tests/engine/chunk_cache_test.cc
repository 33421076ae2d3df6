#include "storage/engine/chunk_cache.h"

#include "gtest/gtest.h"

namespace wdelta {
namespace {

ChunkKey KeyOf(uint64_t offset, const char* model = "model") {
  return {Digest::Of(model), 3, offset, 100};
}

ChunkCache::Bytes BytesOf(size_t size, char fill) {
  return std::make_shared<const std::string>(size, fill);
}

TEST(ChunkCacheTest, FindsWhatWasInsertedUnderTheSameKeyOnly) {
  ChunkCache cache(1000);
  EXPECT_EQ(cache.Find(KeyOf(0)), nullptr);
  const ChunkCache::Bytes bytes = BytesOf(100, 'a');
  cache.Insert(KeyOf(0), bytes);
  EXPECT_EQ(cache.Find(KeyOf(0)), bytes);
  EXPECT_EQ(cache.Find(KeyOf(100)), nullptr);
  EXPECT_EQ(cache.Find(KeyOf(0, "other")), nullptr);
  cache.Insert(KeyOf(0), BytesOf(100, 'b'));
  EXPECT_EQ(cache.Find(KeyOf(0)), bytes);
  EXPECT_EQ(cache.size_bytes(), 100u);
}

TEST(ChunkCacheTest, NeverHoldsMoreThanItMay) {
  ChunkCache cache(1050);
  for (uint64_t i = 0; i < 1000; ++i) {
    cache.Insert(KeyOf(i), BytesOf(1 + i % 200, 'x'));
    ASSERT_LE(cache.size_bytes(), 1050u);
    ASSERT_NE(cache.Find(KeyOf(i)), nullptr);
  }
  cache.Insert(KeyOf(5000), BytesOf(1051, 'x'));
  EXPECT_EQ(cache.Find(KeyOf(5000)), nullptr);
  ChunkCache none(0);
  none.Insert(KeyOf(1), BytesOf(1, 'x'));
  EXPECT_EQ(none.Find(KeyOf(1)), nullptr);
}

TEST(ChunkCacheTest, RepeatedScansOfMoreThanItHoldsStillHit) {
  ChunkCache cache(80 * 100);
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

}  // namespace
}  // namespace wdelta
