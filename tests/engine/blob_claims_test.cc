// A blob is there for as long as someone claims it, however claims and releases of the same
// content meet.
#include "storage/engine/records/blob_claims.h"

#include <atomic>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "storage/blobs/memory_blob_store.h"
#include "storage/catalog/keys.h"
#include "storage/catalog/memory_catalog.h"
#include "tests/engine/hooked_storage.h"
#include "tests/support/test_seed.h"

namespace wdelta {
namespace {

class BlobClaimsTest : public ::testing::Test {
 protected:
  bool Exists() { return memory_.Stat(digest_).ok(); }
  bool HasRecord() { return memory_catalog_.Get(keys::Blob(digest_.ToHex()))->has_value(); }

  // As a job that is put back does it.
  void ClaimPatiently(const std::string& owner) {
    while (true) {
      const absl::Status status = claims_.ClaimAndPut(owner, digest_, data_).status();
      if (status.ok()) return;
      ASSERT_EQ(ErrorReason(status), "BLOB_RECLAIMED") << status;
      std::this_thread::yield();
    }
  }

  const std::string data_ = "content";
  const Digest digest_ = Digest::Of(data_);
  MemoryBlobStore memory_;
  MemoryCatalog memory_catalog_;
  testing::HookedBlobStore blobs_{&memory_};
  testing::HookedCatalog catalog_{&memory_catalog_};
  BlobClaims claims_{&blobs_, &catalog_};
};

TEST_F(BlobClaimsTest, TheLastReleaseDeletes) {
  ASSERT_TRUE(claims_.ClaimAndPut("a", digest_, data_).ok());
  ASSERT_TRUE(claims_.ClaimAndPut("b", digest_, data_).ok());
  uint64_t freed_bytes = 0;
  ASSERT_TRUE(claims_.ReleaseAll("a", &freed_bytes).ok());
  EXPECT_TRUE(Exists());
  EXPECT_EQ(freed_bytes, 0u);
  ASSERT_TRUE(claims_.ReleaseAll("b", &freed_bytes).ok());
  EXPECT_FALSE(Exists());
  EXPECT_FALSE(HasRecord());
  EXPECT_EQ(freed_bytes, data_.size());
}

TEST_F(BlobClaimsTest, WhoWantsABlobThatIsBeingDeletedWaits) {
  ASSERT_TRUE(claims_.ClaimAndPut("a", digest_, data_).ok());
  absl::Status meanwhile;
  blobs_.before_delete = [&] { meanwhile = claims_.ClaimAndPut("b", digest_, data_).status(); };
  ASSERT_TRUE(claims_.ReleaseAll("a").ok());
  EXPECT_EQ(ErrorReason(meanwhile), "BLOB_RECLAIMED");
  ASSERT_TRUE(claims_.ClaimAndPut("b", digest_, data_).ok());
  EXPECT_TRUE(Exists());
}

TEST_F(BlobClaimsTest, AClaimBetweenTheLookAndTheMarkKeepsTheBlob) {
  ASSERT_TRUE(claims_.ClaimAndPut("a", digest_, data_).ok());
  catalog_.before_next_apply = [&] { ASSERT_TRUE(claims_.ClaimAndPut("b", digest_, data_).ok()); };
  ASSERT_TRUE(claims_.ReleaseAll("a").ok());
  EXPECT_TRUE(Exists());
  ASSERT_TRUE(memory_.Put(digest_, data_).ok());
  ASSERT_TRUE(claims_.ReleaseAll("b").ok());
  EXPECT_FALSE(Exists());
}

// Two jobs give up the same claim, one slowly; what is put after the first has ended must
// not fall to the second.
TEST_F(BlobClaimsTest, ASlowReleaseDoesNotDeleteWhatWasPutAfterAnother) {
  ASSERT_TRUE(claims_.ClaimAndPut("a", digest_, data_).ok());
  std::optional<std::thread> second;
  blobs_.before_delete = [&] {
    if (second.has_value()) return;
    second.emplace([&] { EXPECT_TRUE(claims_.ReleaseAll("a").ok()); });
  };
  ASSERT_TRUE(claims_.ReleaseAll("a").ok());
  ClaimPatiently("b");
  second->join();
  EXPECT_TRUE(Exists());
  EXPECT_TRUE(HasRecord());
}

TEST_F(BlobClaimsTest, AClaimWhileAnUnclaimedBlobIsLookedAtKeepsIt) {
  ASSERT_TRUE(memory_.Put(digest_, data_).ok());
  catalog_.before_next_apply = [&] { ASSERT_TRUE(claims_.ClaimAndPut("b", digest_, data_).ok()); };
  ASSERT_TRUE(claims_.DeleteUnclaimed(digest_.ToHex()).ok());
  EXPECT_TRUE(Exists());
  ASSERT_TRUE(claims_.DeleteUnclaimed(digest_.ToHex()).ok());
  EXPECT_TRUE(Exists());
  ASSERT_TRUE(claims_.ReleaseAll("b").ok());
  EXPECT_FALSE(Exists());
}

TEST_F(BlobClaimsTest, ManyThreadsOnFewBlobs) {
  constexpr int kThreads = 6;
  constexpr int kRounds = 300;
  const uint32_t seed = testing::TestSeed();
  SCOPED_TRACE(testing::SeedTrace(seed));
  BlobClaims claims(&memory_, &memory_catalog_);
  std::atomic<int> missing = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(seed + t);
      const std::string owner = absl::StrCat("owner", t);
      for (int i = 0; i < kRounds; ++i) {
        const std::string data(1 + random() % 3, 'x');
        const Digest digest = Digest::Of(data);
        const absl::Status claimed = claims.ClaimAndPut(owner, digest, data).status();
        if (claimed.ok() && !memory_.Stat(digest).ok()) ++missing;
        if (random() % 2 == 0) {
          (void)claims.DeleteUnclaimed(digest.ToHex());
          if (claimed.ok() && !memory_.Stat(digest).ok()) ++missing;
        }
        // Some give up the claims of a common owner, too, at the same time.
        if (random() % 4 == 0) (void)claims.ClaimAndPut("common", digest, data);
        if (random() % 4 == 0) (void)claims.ReleaseAll("common");
        if (random() % 2 == 0) {
          EXPECT_TRUE(claims.ReleaseAll(owner).ok());
        }
      }
      EXPECT_TRUE(claims.ReleaseAll(owner).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(claims.ReleaseAll("common").ok());
  EXPECT_EQ(missing, 0);
  EXPECT_TRUE(memory_.List("", 10)->blobs.empty());
  EXPECT_TRUE(memory_catalog_.Scan({"blob", PrefixEnd("blob"), 10, false})->records.empty());
}

}  // namespace
}  // namespace wdelta
