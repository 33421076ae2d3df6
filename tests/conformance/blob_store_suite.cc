#include "tests/conformance/blob_store_suite.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/limits.h"

namespace wdelta {

std::string RandomBytes(uint64_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes;
  bytes.reserve(size + sizeof(uint64_t));
  while (bytes.size() < size) {
    const uint64_t word = random();
    bytes.append(reinterpret_cast<const char*>(&word), sizeof(word));
  }
  bytes.resize(size);
  return bytes;
}

void BlobStoreSuite::SetUp() {
  harness_ = GetParam()();
  ASSERT_NE(harness_, nullptr);
}

Digest BlobStoreSuite::MustPut(const std::string& data) {
  const Digest digest = Digest::Of(data);
  const absl::StatusOr<PutResult> result = store().Put(digest, data);
  EXPECT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result.value_or(PutResult::kExisted), PutResult::kCreated);
  return digest;
}

bool BlobStoreSuite::Exists(const Digest& digest) {
  const absl::StatusOr<BlobInfo> info = store().Stat(digest);
  EXPECT_TRUE(info.ok() || absl::IsNotFound(info.status())) << info.status();
  return info.ok();
}

TEST_P(BlobStoreSuite, GivesBackWhatWasPut) {
  const std::string data = RandomBytes(100'000, 1);
  const Digest digest = MustPut(data);
  Reopen();
  const auto found = store().Get(digest, 0, data.size());
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(Digest::Of(*found), digest);
  const auto info = store().Stat(digest);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->digest, digest);
  EXPECT_EQ(info->size_bytes, data.size());
}

TEST_P(BlobStoreSuite, CreatesOnlyOnce) {
  const std::string data = RandomBytes(10'000, 2);
  const Digest digest = MustPut(data);
  Reopen();
  const auto again = store().Put(digest, data);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(*again, PutResult::kExisted);
  EXPECT_EQ(*store().Get(digest, 0, data.size()), data);
}

TEST_P(BlobStoreSuite, StoresTheEmptyBlob) {
  const Digest digest = MustPut("");
  Reopen();
  const auto found = store().Get(digest, 0, 0);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(*found, "");
  EXPECT_EQ(store().Stat(digest)->size_bytes, 0u);
  EXPECT_TRUE(absl::IsOutOfRange(store().Get(digest, 0, 1).status()));
  EXPECT_EQ(*store().Put(digest, ""), PutResult::kExisted);
}

TEST_P(BlobStoreSuite, StoresTheLargestBlobAndNoLarger) {
  std::string data = RandomBytes(limits::kMaxBlobBytes, 3);
  const Digest digest = MustPut(data);
  Reopen();
  const auto found = store().Get(digest, 0, data.size());
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(Digest::Of(*found), digest);

  data.push_back('x');
  const Digest larger = Digest::Of(data);
  EXPECT_TRUE(absl::IsInvalidArgument(store().Put(larger, data).status()));
  EXPECT_FALSE(Exists(larger));
}

TEST_P(BlobStoreSuite, ReadsRangesUpToEveryEdge) {
  const std::string data = RandomBytes(9'999, 4);
  const Digest digest = MustPut(data);
  Reopen();
  const uint64_t end = data.size();
  const std::vector<std::pair<uint64_t, uint64_t>> inside = {
      {0, 0}, {0, 1}, {0, end}, {1, end - 1}, {end - 1, 1}, {end, 0}, {4'095, 2}, {5'000, 1'234}};
  for (const auto& [offset, size] : inside) {
    const auto found = store().Get(digest, offset, size);
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(*found, data.substr(offset, size)) << offset << "+" << size;
  }
  const uint64_t max = std::numeric_limits<uint64_t>::max();
  const std::vector<std::pair<uint64_t, uint64_t>> outside = {
      {0, end + 1}, {end, 1}, {end + 1, 0}, {1, end}, {max, 1}, {1, max}, {max, max}};
  for (const auto& [offset, size] : outside) {
    EXPECT_TRUE(absl::IsOutOfRange(store().Get(digest, offset, size).status()))
        << offset << "+" << size;
  }
}

TEST_P(BlobStoreSuite, RefusesBytesOfAnotherDigest) {
  const Digest digest = Digest::Of("expected");
  EXPECT_TRUE(absl::IsInvalidArgument(store().Put(digest, "found").status()));
  EXPECT_FALSE(Exists(digest));
  EXPECT_FALSE(Exists(Digest::Of("found")));

  MustPut("expected");
  EXPECT_TRUE(absl::IsInvalidArgument(store().Put(digest, "found").status()));
  EXPECT_EQ(*store().Get(digest, 0, 8), "expected");
}

TEST_P(BlobStoreSuite, DoesNotFindWhatIsAbsent) {
  MustPut("something");
  const Digest absent = Digest::Of("something else");
  EXPECT_TRUE(absl::IsNotFound(store().Get(absent, 0, 0).status()));
  EXPECT_TRUE(absl::IsNotFound(store().Stat(absent).status()));
  EXPECT_TRUE(store().Delete(absent).ok());
}

TEST_P(BlobStoreSuite, DeletesForGoodAndPutsAgain) {
  const std::string data = RandomBytes(50'000, 5);
  const Digest digest = MustPut(data);
  const Digest kept = MustPut("kept");
  Reopen();
  ASSERT_TRUE(store().Delete(digest).ok());
  Reopen();
  EXPECT_FALSE(Exists(digest));
  EXPECT_TRUE(absl::IsNotFound(store().Get(digest, 0, 1).status()));
  EXPECT_EQ(*store().Get(kept, 0, 4), "kept");
  EXPECT_TRUE(store().Delete(digest).ok());
  MustPut(data);
  EXPECT_EQ(*store().Get(digest, 0, data.size()), data);
}

TEST_P(BlobStoreSuite, ListsInPages) {
  const auto none = store().List("", 10);
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_TRUE(none->blobs.empty());
  EXPECT_FALSE(none->more);

  std::map<std::string, uint64_t> expected;
  for (int i = 0; i < 25; ++i) {
    const std::string data = RandomBytes(static_cast<uint64_t>(i) * 500, 100 + i);
    expected[MustPut(data).ToHex()] = data.size();
  }
  Reopen();
  for (const uint32_t limit : {1u, 7u, 24u, 25u, 26u}) {
    std::vector<std::pair<std::string, uint64_t>> found;
    std::string after;
    bool more = true;
    while (more) {
      const auto page = store().List(after, limit);
      ASSERT_TRUE(page.ok()) << page.status();
      ASSERT_LE(page->blobs.size(), limit);
      ASSERT_FALSE(page->blobs.empty());
      for (const BlobInfo& blob : page->blobs) {
        found.emplace_back(blob.digest.ToHex(), blob.size_bytes);
      }
      after = found.back().first;
      more = page->more;
    }
    EXPECT_TRUE(std::equal(
        found.begin(), found.end(), expected.begin(), expected.end(),
        [](const auto& a, const auto& b) { return a.first == b.first && a.second == b.second; }))
        << "limit " << limit << ", found " << found.size();
  }
}

TEST_P(BlobStoreSuite, ListsAfterADigestThatIsAbsent) {
  const std::string first = MustPut("a").ToHex();
  const std::string second = MustPut("b").ToHex();
  const std::string greater = std::max(first, second);
  ASSERT_TRUE(store().Delete(*Digest::FromHex(std::min(first, second))).ok());
  const auto page = store().List(std::min(first, second), 10);
  ASSERT_TRUE(page.ok()) << page.status();
  ASSERT_EQ(page->blobs.size(), 1u);
  EXPECT_EQ(page->blobs[0].digest.ToHex(), greater);
  EXPECT_FALSE(page->more);
  EXPECT_TRUE(store().List(std::string(64, 'f'), 10)->blobs.empty());
}

TEST_P(BlobStoreSuite, RefusesBadListRequests) {
  EXPECT_TRUE(absl::IsInvalidArgument(store().List("", 0).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(store().List("abc", 1).status()));
}

TEST_P(BlobStoreSuite, ConcurrentPutsOfOneDigestCreateItOnce) {
  constexpr int kThreads = 8;
  constexpr int kRounds = 5;
  for (int round = 0; round < kRounds; ++round) {
    const std::string data = RandomBytes(200'000, 1000 + round);
    const Digest digest = Digest::Of(data);
    std::atomic<int> created = 0;
    std::atomic<int> failed = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        const auto result = store().Put(digest, data);
        if (!result.ok()) {
          ++failed;
        } else if (*result == PutResult::kCreated) {
          ++created;
        }
        // Whoever was told that it exists can read it.
        const auto found = store().Get(digest, 0, data.size());
        if (!found.ok() || *found != data) ++failed;
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(created, 1);
    EXPECT_EQ(failed, 0);
  }
  EXPECT_EQ(store().List("", 100)->blobs.size(), static_cast<size_t>(kRounds));
}

TEST_P(BlobStoreSuite, ConcurrentPutsOfManyDigestsAllArrive) {
  constexpr int kThreads = 8;
  constexpr int kEach = 10;
  std::vector<std::thread> threads;
  std::atomic<int> failed = 0;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (int j = 0; j < kEach; ++j) {
        const std::string data = RandomBytes(20'000, 5000 + i * kEach + j);
        const Digest digest = Digest::Of(data);
        if (!store().Put(digest, data).ok() || *store().Get(digest, 0, data.size()) != data) {
          ++failed;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed, 0);
  Reopen();
  const auto page = store().List("", 1000);
  ASSERT_TRUE(page.ok()) << page.status();
  ASSERT_EQ(page->blobs.size(), static_cast<size_t>(kThreads * kEach));
  for (const BlobInfo& blob : page->blobs) {
    EXPECT_EQ(Digest::Of(*store().Get(blob.digest, 0, blob.size_bytes)), blob.digest);
  }
}

}  // namespace wdelta
