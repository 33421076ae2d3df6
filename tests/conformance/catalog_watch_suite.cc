// The part of CatalogSuite that watches.
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "storage/base/limits.h"
#include "tests/conformance/catalog_suite.h"

namespace wdelta {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Ends a test that would wait for ever.
absl::Time Soon() { return absl::Now() + absl::Seconds(60); }

}  // namespace

std::unique_ptr<Watcher> CatalogSuite::MustWatch(const std::string& prefix,
                                                 uint64_t after_revision) {
  absl::StatusOr<std::unique_ptr<Watcher>> watcher = catalog().Watch(prefix, after_revision);
  EXPECT_TRUE(watcher.ok()) << watcher.status();
  return watcher.ok() ? *std::move(watcher) : nullptr;
}

std::vector<std::string> CatalogSuite::MustSee(Watcher& watcher, size_t count) {
  std::vector<std::string> seen;
  while (seen.size() < count) {
    const auto changes = watcher.Next(Soon());
    EXPECT_TRUE(changes.ok()) << changes.status();
    if (!changes.ok() || changes->empty()) break;
    for (const Change& change : *changes) {
      seen.push_back(change.value.has_value()
                         ? absl::StrCat(change.key, "=", *change.value, "@", change.revision)
                         : absl::StrCat(change.key, "-@", change.revision));
    }
  }
  return seen;
}

TEST_P(CatalogSuite, WatchesChangesInOrder) {
  const auto watcher = MustWatch("", 0);
  MustApply(Commit().Write("a", "1"));
  MustApply(Commit().Write("b", "2"));
  MustApply(Commit().Erase("a"));
  MustApply(Commit().Write("b", "3"));
  EXPECT_THAT(MustSee(*watcher, 4), ElementsAre("a=1@1", "b=2@2", "a-@3", "b=3@4"));
  EXPECT_THAT(*watcher->Next(absl::InfinitePast()), IsEmpty());
  MustApply(Commit().Write("c", ""));
  EXPECT_THAT(MustSee(*watcher, 1), ElementsAre("c=@5"));
}

TEST_P(CatalogSuite, WatchesOnlyItsPrefix) {
  const auto watcher = MustWatch("job/", 0);
  MustApply(Commit().Write("job", "x").Write("job/1", "1").Write("job0", "x"));
  MustApply(Commit().Write("model/1", "x"));
  MustApply(Commit().Erase("job/1").Erase("model/1"));
  EXPECT_THAT(MustSee(*watcher, 2), ElementsAre("job/1=1@1", "job/1-@3"));
  EXPECT_THAT(*watcher->Next(absl::InfinitePast()), IsEmpty());
}

TEST_P(CatalogSuite, WatchesAfterARevision) {
  MustApply(Commit().Write("a", "1"));
  const uint64_t second = MustApply(Commit().Write("a", "2"));
  MustApply(Commit().Write("a", "3"));
  EXPECT_THAT(MustSee(*MustWatch("", second), 1), ElementsAre("a=3@3"));
  EXPECT_THAT(MustSee(*MustWatch("", 0), 3), ElementsAre("a=1@1", "a=2@2", "a=3@3"));
  EXPECT_THAT(*MustWatch("", *catalog().CurrentRevision())->Next(absl::InfinitePast()), IsEmpty());
}

TEST_P(CatalogSuite, WatchWaitsForAChange) {
  const auto watcher = MustWatch("a", 0);
  std::thread writer([&] {
    MustApply(Commit().Write("b", "other"));
    MustApply(Commit().Write("a", "mine"));
  });
  EXPECT_THAT(MustSee(*watcher, 1), ElementsAre("a=mine@2"));
  writer.join();
}

TEST_P(CatalogSuite, WatchEndsAtItsDeadline) {
  const auto watcher = MustWatch("", 0);
  const absl::Time deadline = absl::Now() + absl::Milliseconds(20);
  const auto changes = watcher->Next(deadline);
  ASSERT_TRUE(changes.ok()) << changes.status();
  EXPECT_THAT(*changes, IsEmpty());
  EXPECT_GE(absl::Now(), deadline);
}

TEST_P(CatalogSuite, StopWakesAWatcher) {
  const auto watcher = MustWatch("", 0);
  std::thread stopper([&] { watcher->Stop(); });
  const auto changes = watcher->Next(absl::InfiniteFuture());
  stopper.join();
  ASSERT_TRUE(changes.ok()) << changes.status();
  EXPECT_THAT(*changes, IsEmpty());
  MustApply(Commit().Write("a", "1"));
  EXPECT_THAT(*watcher->Next(absl::InfiniteFuture()), IsEmpty()) << "stopped for good";
}

TEST_P(CatalogSuite, WatchersAreIndependent) {
  const auto first = MustWatch("", 0);
  const auto second = MustWatch("", 0);
  MustApply(Commit().Write("a", "1"));
  EXPECT_THAT(MustSee(*first, 1), ElementsAre("a=1@1"));
  first->Stop();
  MustApply(Commit().Write("a", "2"));
  EXPECT_THAT(MustSee(*second, 2), ElementsAre("a=1@1", "a=2@2"));
}

TEST_P(CatalogSuite, TellsAWatcherThatLags) {
  const auto idle = MustWatch("a", 0);
  Commit commit;
  for (uint64_t i = 0; i <= limits::kMaxWatchBacklog; ++i) commit.Write(absl::StrCat("b", i), "");
  MustApply(Commit().Write("a", "1"));
  const uint64_t big = MustApply(commit);
  EXPECT_TRUE(absl::IsOutOfRange(idle->Next(Soon()).status()));
  EXPECT_TRUE(absl::IsOutOfRange(catalog().Watch("a", 0).status()));
  // A watcher that starts where it has read is fine.
  const auto watcher = MustWatch("a", big);
  MustApply(Commit().Write("a", "2"));
  EXPECT_THAT(MustSee(*watcher, 1), ElementsAre(absl::StrCat("a=2@", big + 1)));
}

TEST_P(CatalogSuite, WatcherSeesAllOfConcurrentCommits) {
  constexpr int kThreads = 4;
  constexpr int kCommits = 25;
  const auto watcher = MustWatch("", 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kCommits; ++i) {
        EXPECT_TRUE(catalog().Apply(Commit().Write(absl::StrCat("k", t), absl::StrCat(i))).ok());
      }
    });
  }
  uint64_t revision = 0;
  while (revision < kThreads * kCommits) {
    const auto changes = watcher->Next(Soon());
    ASSERT_TRUE(changes.ok()) << changes.status();
    ASSERT_FALSE(changes->empty());
    for (const Change& change : *changes) ASSERT_EQ(change.revision, ++revision);
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace wdelta
