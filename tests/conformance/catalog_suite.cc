#include "tests/conformance/catalog_suite.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <random>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "storage/base/error.h"

namespace wdelta {

using testing::ElementsAre;
using testing::IsEmpty;

void CatalogSuite::SetUp() {
  harness_ = GetParam()();
  ASSERT_NE(harness_, nullptr);
}

uint64_t CatalogSuite::MustApply(const Commit& commit) {
  const absl::StatusOr<uint64_t> revision = catalog().Apply(commit);
  EXPECT_TRUE(revision.ok()) << revision.status();
  return revision.value_or(0);
}

std::string CatalogSuite::Show(const std::string& key) {
  const auto record = catalog().Get(key);
  EXPECT_TRUE(record.ok()) << record.status();
  if (!record.ok() || !record->has_value()) return "-";
  EXPECT_EQ((*record)->key, key);
  return absl::StrCat((*record)->value, "@", (*record)->version);
}

ScanPage CatalogSuite::MustScan(const ScanRequest& request) {
  absl::StatusOr<ScanPage> page = catalog().Scan(request);
  EXPECT_TRUE(page.ok()) << page.status();
  return page.ok() ? *std::move(page) : ScanPage();
}

std::vector<std::string> KeysOf(const ScanPage& page) {
  std::vector<std::string> keys;
  for (const Record& record : page.records) keys.push_back(record.key);
  return keys;
}

TEST_P(CatalogSuite, KeepsRecordsAndTheirVersions) {
  EXPECT_EQ(*catalog().CurrentRevision(), 0u);
  EXPECT_EQ(Show("a"), "-");
  const uint64_t first = MustApply(Commit().Write("a", "one").Write("b", "two"));
  EXPECT_EQ(first, 1u);
  const uint64_t second = MustApply(Commit().Write("a", "three"));
  EXPECT_EQ(second, 2u);
  Reopen();
  EXPECT_EQ(Show("a"), "three@2");
  EXPECT_EQ(Show("b"), "two@1");
  EXPECT_EQ(*catalog().CurrentRevision(), 2u);
  EXPECT_EQ(MustApply(Commit().Erase("a").Write("c", "four")), 3u);
  Reopen();
  EXPECT_EQ(Show("a"), "-");
  EXPECT_EQ(Show("c"), "four@3");
}

TEST_P(CatalogSuite, AppliesWhenConditionsHold) {
  const uint64_t first = MustApply(Commit().Require("a", 0).Write("a", "1"));
  const uint64_t second = MustApply(Commit().Require("a", first).Write("a", "2"));
  Reopen();
  MustApply(Commit().Require("a", second).Require("b", 0).Erase("a").Write("b", "3"));
  EXPECT_EQ(Show("a"), "-");
  const uint64_t fourth = MustApply(Commit().Require("a", 0).Write("a", "4"));
  EXPECT_EQ(Show("a"), absl::StrCat("4@", fourth));
}

TEST_P(CatalogSuite, ConflictsChangeNothing) {
  const uint64_t first = MustApply(Commit().Write("a", "1").Write("b", "1"));
  const uint64_t second = MustApply(Commit().Write("a", "2"));
  const auto watcher = MustWatch("", second);
  const auto change = [] { return Commit().Write("a", "x").Write("c", "x").Erase("b"); };
  for (const auto& [key, version] : std::vector<std::pair<std::string, uint64_t>>{
           {"a", first}, {"a", 0}, {"a", second + 1}, {"absent", first}}) {
    // A condition that holds before it does not help.
    const auto result = catalog().Apply(change().Require("b", first).Require(key, version));
    EXPECT_TRUE(absl::IsAborted(result.status())) << key << "@" << version;
    EXPECT_EQ(ErrorReason(result.status()), "CONFLICT");
    EXPECT_THAT(GetErrorDetails(result.status()), ElementsAre(testing::Pair("key", key)));
  }
  EXPECT_EQ(Show("a"), absl::StrCat("2@", second));
  EXPECT_EQ(Show("b"), absl::StrCat("1@", first));
  EXPECT_EQ(Show("c"), "-");
  EXPECT_EQ(*catalog().CurrentRevision(), second);
  EXPECT_THAT(*watcher->Next(absl::InfinitePast()), IsEmpty());
  Reopen();
  EXPECT_EQ(Show("c"), "-");
}

TEST_P(CatalogSuite, ConditionsNeedNoWrites) {
  const uint64_t first = MustApply(Commit().Write("a", "1"));
  EXPECT_TRUE(catalog().Apply(Commit().Require("a", first)).ok());
  EXPECT_TRUE(absl::IsAborted(catalog().Apply(Commit().Require("a", first + 1)).status()));
  EXPECT_EQ(Show("a"), absl::StrCat("1@", first));
}

TEST_P(CatalogSuite, RefusesAmbiguousCommits) {
  for (const Commit& commit :
       {Commit().Write("a", "1").Write("a", "2"), Commit().Write("a", "1").Erase("a"),
        Commit().Write("", "1"), Commit().Erase(""), Commit().Require("", 0)}) {
    EXPECT_TRUE(absl::IsInvalidArgument(catalog().Apply(commit).status()));
  }
  EXPECT_EQ(Show("a"), "-");
  EXPECT_EQ(*catalog().CurrentRevision(), 0u);
}

TEST_P(CatalogSuite, DeletesWhatIsAbsent) {
  EXPECT_TRUE(catalog().Apply(Commit().Erase("absent").Erase("absent")).ok());
  EXPECT_EQ(Show("absent"), "-");
}

TEST_P(CatalogSuite, KeepsAnyBytesInKeysAndValues) {
  const std::vector<std::string> keys = {std::string("\0", 1),
                                         std::string("\0\0", 2),
                                         std::string("a\0b", 3),
                                         "a",
                                         "a/",
                                         "r",
                                         "s",
                                         "\x7f",
                                         "\x80",
                                         "\xff",
                                         "\xff\xff"};
  Commit commit;
  for (const std::string& key : keys)
    commit.Write(key, absl::StrCat(key, std::string("\0\xff", 2)));
  commit.Write("empty", "");
  MustApply(commit);
  Reopen();
  for (const std::string& key : keys) {
    const auto record = catalog().Get(key);
    ASSERT_TRUE(record.ok() && record->has_value());
    EXPECT_EQ((*record)->value, absl::StrCat(key, std::string("\0\xff", 2)));
  }
  EXPECT_EQ(Show("empty"), "@1");
  std::vector<std::string> expected = keys;
  expected.push_back("empty");
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(KeysOf(MustScan({.limit = 100})), expected);
  std::reverse(expected.begin(), expected.end());
  EXPECT_EQ(KeysOf(MustScan({.limit = 100, .reverse = true})), expected);
}

TEST_P(CatalogSuite, ScansWithinBounds) {
  MustApply(Commit().Write("a", "").Write("b", "").Write("b/1", "").Write("b/2", ""));
  MustApply(Commit().Write("c", "").Write("d", "4"));
  Reopen();
  EXPECT_THAT(KeysOf(MustScan({"b", "c", 10})), ElementsAre("b", "b/1", "b/2"));
  EXPECT_THAT(KeysOf(MustScan({"b/", PrefixEnd("b/"), 10})), ElementsAre("b/1", "b/2"));
  EXPECT_THAT(KeysOf(MustScan({"bb", "", 10})), ElementsAre("c", "d"));
  EXPECT_THAT(KeysOf(MustScan({"", "b", 10})), ElementsAre("a"));
  EXPECT_THAT(KeysOf(MustScan({"e", "", 10})), IsEmpty());
  EXPECT_THAT(KeysOf(MustScan({"b", "b", 10})), IsEmpty());
  EXPECT_THAT(KeysOf(MustScan({"c", "b", 10})), IsEmpty());
  EXPECT_THAT(KeysOf(MustScan({"c", "b", 10, true})), IsEmpty());
  EXPECT_THAT(KeysOf(MustScan({"b", "c", 10, true})), ElementsAre("b/2", "b/1", "b"));
  EXPECT_THAT(KeysOf(MustScan({"c", "", 10, true})), ElementsAre("d", "c"));
  const ScanPage last = MustScan({"d", "", 1});
  ASSERT_EQ(last.records.size(), 1u);
  EXPECT_EQ(last.records[0].value, "4");
  EXPECT_EQ(last.records[0].version, 2u);
}

TEST_P(CatalogSuite, ScansInPages) {
  Commit commit;
  for (char c = 'a'; c <= 'j'; ++c) commit.Write(std::string(1, c), "");
  MustApply(commit);
  for (const bool reverse : {false, true}) {
    const ScanPage some = MustScan({"b", "h", 5, reverse});
    EXPECT_EQ(some.records.size(), 5u);
    EXPECT_TRUE(some.more);
    const ScanPage all = MustScan({"b", "h", 6, reverse});
    EXPECT_EQ(all.records.size(), 6u);
    EXPECT_FALSE(all.more) << "records outside the bounds are not more";
    EXPECT_FALSE(MustScan({"b", "h", 7, reverse}).more);
  }
  EXPECT_TRUE(absl::IsInvalidArgument(catalog().Scan({"a", "b", 0}).status()));
}

TEST_P(CatalogSuite, ScansSeeWholeCommits) {
  constexpr int kKeys = 20;
  constexpr int kCommits = 60;
  std::atomic<bool> done = false;
  std::thread writer([&] {
    for (int i = 1; i <= kCommits; ++i) {
      Commit commit;
      for (int k = 0; k < kKeys; ++k) commit.Write(absl::StrCat("k", k), absl::StrCat(i));
      EXPECT_TRUE(catalog().Apply(commit).ok());
    }
    done = true;
  });
  bool last = false;
  while (!last) {
    last = done;
    const ScanPage page = MustScan({.limit = 100});
    if (page.records.empty()) continue;
    EXPECT_EQ(page.records.size(), static_cast<size_t>(kKeys));
    for (const Record& record : page.records) {
      EXPECT_EQ(record.value, page.records[0].value);
      EXPECT_EQ(record.version, page.records[0].version);
    }
  }
  writer.join();
}

TEST_P(CatalogSuite, ConcurrentCountersLoseNothing) {
  constexpr int kThreads = 8;
  constexpr int kIncrements = 25;
  std::atomic<int> errors = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int done = 0; done < kIncrements;) {
        const auto record = catalog().Get("counter");
        int count = 0;
        const bool present = record.ok() && record->has_value();
        if (present && !absl::SimpleAtoi((*record)->value, &count)) ++errors;
        const auto result =
            catalog().Apply(Commit()
                                .Require("counter", present ? (*record)->version : 0)
                                .Write("counter", absl::StrCat(count + 1)));
        if (result.ok()) {
          ++done;
        } else if (!absl::IsAborted(result.status())) {
          ++errors;
          return;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(errors, 0);
  Reopen();
  EXPECT_EQ(Show("counter"), absl::StrCat(kThreads * kIncrements, "@", kThreads * kIncrements));
}

// Random commits against a std::map.
TEST_P(CatalogSuite, AgreesWithAPlainMap) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::mt19937_64 random(seed);
  const auto below = [&](uint64_t bound) { return random() % bound; };
  const auto key = [&] { return std::string(1 + below(2), static_cast<char>(below(8) * 36)); };

  std::map<std::string, std::pair<std::string, uint64_t>> model;
  for (int step = 0; step < 400; ++step) {
    Commit commit;
    std::map<std::string, bool> touched;
    bool holds = true;
    for (uint64_t i = below(4); i > 0; --i) {
      const std::string k = key();
      const uint64_t actual = model.contains(k) ? model[k].second : 0;
      const uint64_t version = below(8) == 0 ? below(5) : actual;
      holds = holds && version == actual;
      commit.Require(k, version);
    }
    for (uint64_t i = 1 + below(4); i > 0; --i) {
      const std::string k = key();
      if (!touched.emplace(k, true).second) continue;
      below(3) == 0 ? commit.Erase(k) : commit.Write(k, absl::StrCat("v", random()));
    }
    const auto result = catalog().Apply(commit);
    ASSERT_EQ(result.ok(), holds) << result.status();
    if (holds) {
      for (const auto& put : commit.puts) model[put.key] = {put.value, *result};
      for (const auto& erased : commit.deletes) model.erase(erased);
    } else {
      ASSERT_TRUE(absl::IsAborted(result.status())) << result.status();
    }
    if (below(100) == 0) Reopen();

    ScanRequest request{key(), below(3) == 0 ? "" : key(), static_cast<uint32_t>(1 + below(6)),
                        below(2) == 0};
    std::vector<std::string> expected;
    for (const auto& [k, value] : model) {
      if (k >= request.begin && (request.end.empty() || k < request.end)) {
        expected.push_back(absl::StrCat(k, "=", value.first, "@", value.second));
      }
    }
    if (request.reverse) std::reverse(expected.begin(), expected.end());
    const bool more = expected.size() > request.limit;
    if (more) expected.resize(request.limit);
    const ScanPage page = MustScan(request);
    std::vector<std::string> found;
    for (const Record& r : page.records) {
      found.push_back(absl::StrCat(r.key, "=", r.value, "@", r.version));
    }
    ASSERT_EQ(found, expected) << "step " << step;
    ASSERT_EQ(page.more, more) << "step " << step;
  }
}

}  // namespace wdelta
