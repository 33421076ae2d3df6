// Commits that share a write: each is checked against those before it, and what fails fails for
// all of them.
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "rocksdb/env.h"
#include "storage/base/error.h"
#include "storage/catalog/rocksdb_catalog.h"
#include "storage/catalog/rocksdb_commit_group.h"
#include "tests/support/rocksdb_fault_env.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_seed.h"

namespace wdelta {
namespace {

using testing::FaultDisk;

// A group over a disk that has `a` of version 3 and nothing else.
RocksdbCommitGroup NewGroup() {
  return RocksdbCommitGroup(7, [](absl::string_view key) -> absl::StatusOr<uint64_t> {
    if (key == "broken") return absl::DataLossError("broken");
    return key == "a" ? 3 : 0;
  });
}

TEST(CommitGroup, EachSeesThoseBeforeIt) {
  RocksdbCommitGroup group = NewGroup();
  EXPECT_EQ(*group.Add(Commit().Require("a", 3).Require("b", 0).Write("b", "1")), 8u);
  EXPECT_EQ(*group.Add(Commit().Require("b", 8).Erase("b").Write("c", "1")), 9u);
  EXPECT_EQ(*group.Add(Commit().Require("b", 0).Require("c", 9)), 9u) << "writes nothing";
  EXPECT_EQ(*group.Add(Commit().Erase("b")), 10u) << "is gone already";
  EXPECT_EQ(*group.Add(Commit().Erase("a")), 11u);
  EXPECT_EQ(*group.Add(Commit().Require("a", 0).Write("a", "2")), 12u);
  EXPECT_EQ(group.revision(), 12u);
  const std::vector<std::vector<Change>> changes = group.TakeChanges();
  ASSERT_EQ(changes.size(), 5u);
  EXPECT_EQ(changes[1].size(), 2u);
  EXPECT_TRUE(changes[2].empty());
  EXPECT_EQ(changes[3].front().value, std::nullopt);
  EXPECT_EQ(changes[4].front().revision, 12u);
}

TEST(CommitGroup, WhatFailsLeavesNoTrace) {
  RocksdbCommitGroup group = NewGroup();
  EXPECT_EQ(ErrorReason(group.Add(Commit().Write("b", "1").Require("a", 2)).status()), "CONFLICT");
  EXPECT_TRUE(absl::IsDataLoss(group.Add(Commit().Write("b", "1").Erase("broken")).status()));
  EXPECT_TRUE(group.IsEmpty());
  EXPECT_EQ(group.batch().Count(), 0u);
  EXPECT_EQ(*group.Add(Commit().Require("b", 0).Write("b", "2")), 8u);
}

class SharedWriteTest : public ::testing::Test {
 protected:
  SharedWriteTest() : disk_(std::make_shared<FaultDisk>()), env_(rocksdb::NewCompositeEnv(disk_)) {
    Reopen();
  }

  void Reopen() {
    catalog_.reset();
    RocksdbCatalogOptions options;
    options.env = env_.get();
    options.probe_pause = absl::ZeroDuration();
    auto opened = RocksdbCatalog::Open(folder_.path(), options);
    ASSERT_TRUE(opened.ok()) << opened.status();
    catalog_ = *std::move(opened);
  }

  // Writes 1, 2… to a key of its own until a write fails; returns the last that did not.
  int CountUp(const std::string& key, int most) {
    for (int i = 1; i <= most; ++i) {
      if (!catalog_->Apply(Commit().Write(key, absl::StrCat(i))).ok()) return i - 1;
    }
    return most;
  }

  int ValueOf(const std::string& key) {
    const std::optional<Record> record = *catalog_->Get(key);
    int value = 0;
    if (record.has_value()) {
      EXPECT_TRUE(absl::SimpleAtoi(record->value, &value));
    }
    return value;
  }

  const TempFolder folder_;
  const std::shared_ptr<FaultDisk> disk_;
  const std::unique_ptr<rocksdb::Env> env_;
  std::unique_ptr<RocksdbCatalog> catalog_;
};

TEST_F(SharedWriteTest, NothingAcknowledgedIsLostAndWatchersSeeWhatThereIs) {
  constexpr int kThreads = 8;
  const uint32_t seed = testing::TestSeed();
  SCOPED_TRACE(testing::SeedTrace(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 8; ++round) {
    SCOPED_TRACE(round);
    const auto watcher = *catalog_->Watch("", *catalog_->CurrentRevision());
    disk_->FailAfter(random() % 60,
                     round % 2 == 0 ? FaultDisk::Fault::kInputOutput : FaultDisk::Fault::kDiskFull);
    std::vector<int> acknowledged(kThreads);
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back(
          [&, i] { acknowledged[i] = CountUp(absl::StrCat(round, "-", i), 1000); });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_TRUE(disk_->has_failed());
    disk_->Heal();
    const auto end = catalog_->Apply(Commit().Write("end", absl::StrCat(round)));
    ASSERT_TRUE(end.ok()) << end.status();
    const uint64_t revision = *catalog_->CurrentRevision();
    EXPECT_EQ((*catalog_->Get("end"))->version, revision);

    std::map<std::string, int> watched;
    uint64_t last_revision = 0;
    const absl::StatusOr<std::vector<Change>> changes = watcher->Next(absl::InfinitePast());
    ASSERT_TRUE(changes.ok()) << changes.status();
    for (const Change& change : *changes) {
      EXPECT_GE(change.revision, last_revision);
      last_revision = change.revision;
      ASSERT_TRUE(absl::SimpleAtoi(*change.value, &watched[change.key]));
    }
    EXPECT_EQ(last_revision, revision);
    Reopen();
    EXPECT_EQ(*catalog_->CurrentRevision(), revision);
    for (int i = 0; i < kThreads; ++i) {
      const std::string key = absl::StrCat(round, "-", i);
      EXPECT_GE(ValueOf(key), acknowledged[i]);
      EXPECT_LE(ValueOf(key), acknowledged[i] + 1);
      EXPECT_EQ(ValueOf(key), watched[key]);
    }
  }
}

}  // namespace
}  // namespace wdelta
