// What a RocksDB store acknowledged outlives losses of power and failing disks, what is
// damaged on disk is told and never served, and a store goes on when its disk does.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/blobs/rocksdb_blob_store.h"
#include "storage/catalog/rocksdb_catalog.h"
#include "tests/support/rocksdb_fault_env.h"
#include "tests/support/temp_folder.h"

namespace wdelta {
namespace {

namespace fs = std::filesystem;
using testing::FaultDisk;
using Fault = testing::FaultDisk::Fault;

std::string RandomBytes(std::mt19937& random, size_t size) {
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

// Stores on a disk that fails, beside what they have acknowledged.
class FaultyStores {
 public:
  explicit FaultyStores(uint32_t seed) : random_(seed) {}

  absl::Status Open() {
    RocksdbBlobStoreOptions blobs;
    blobs.memtable_bytes = 256 * limits::kKiB;  // many flushes
    blobs.env = env_.get();
    blobs.probe_pause = absl::ZeroDuration();
    absl::StatusOr<std::unique_ptr<RocksdbBlobStore>> store =
        RocksdbBlobStore::Open(folder_ / "blobs", blobs);
    if (!store.ok()) return store.status();
    blobs_ = *std::move(store);
    RocksdbCatalogOptions catalog;
    catalog.memtable_bytes = 128 * limits::kKiB;
    catalog.env = env_.get();
    catalog.probe_pause = absl::ZeroDuration();
    absl::StatusOr<std::unique_ptr<RocksdbCatalog>> opened =
        RocksdbCatalog::Open(folder_ / "catalog", catalog);
    if (!opened.ok()) return opened.status();
    catalog_ = *std::move(opened);
    return absl::OkStatus();
  }
  void Close() {
    blobs_.reset();
    catalog_.reset();
  }

  // One change at random; what it was is remembered where its result is not known.
  absl::Status Step() {
    uncertain_blob_.reset();
    uncertain_key_.reset();
    if (random_() % 4 == 0 && !blob_data_.empty()) {
      const auto victim = std::next(blob_data_.begin(), random_() % blob_data_.size());
      uncertain_blob_ = victim->first;
      WDELTA_RETURN_IF_ERROR(blobs_->Delete(victim->first));
      blob_data_.erase(victim);
    } else if (random_() % 2 == 0) {
      const std::string data = RandomBytes(random_, 1 + random_() % 100'000);
      uncertain_blob_ = Digest::Of(data);
      WDELTA_RETURN_IF_ERROR(blobs_->Put(*uncertain_blob_, data).status());
      blob_data_[*uncertain_blob_] = data;
    } else {
      const std::string key = absl::StrCat("key", random_() % 20);
      const std::string value = RandomBytes(random_, random_() % 5'000);
      uncertain_key_ = {key, value};
      Commit commit;
      commit.Write(key, value);
      WDELTA_RETURN_IF_ERROR(catalog_->Apply(commit).status());
      values_[key] = value;
    }
    uncertain_blob_.reset();
    uncertain_key_.reset();
    return absl::OkStatus();
  }

  void ExpectAllThere() {
    for (const auto& [digest, data] : blob_data_) {
      if (digest == uncertain_blob_ && !blobs_->Stat(digest).ok()) continue;
      const absl::StatusOr<std::string> found = blobs_->Get(digest, 0, data.size());
      EXPECT_TRUE(found.ok()) << found.status();
      EXPECT_TRUE(!found.ok() || *found == data);
    }
    const BlobPage page = *blobs_->List("", 10'000);
    for (const BlobInfo& blob : page.blobs) {
      EXPECT_TRUE(blob_data_.contains(blob.digest) || blob.digest == uncertain_blob_)
          << "half a blob, or a deleted one";
      const absl::StatusOr<std::string> whole = blobs_->Get(blob.digest, 0, blob.size_bytes);
      EXPECT_TRUE(whole.ok() && Digest::Of(*whole) == blob.digest);
    }
    for (const auto& [key, value] : values_) {
      const absl::StatusOr<std::optional<Record>> record = catalog_->Get(key);
      ASSERT_TRUE(record.ok() && record->has_value()) << record.status();
      const bool is_uncertain = uncertain_key_.has_value() && uncertain_key_->first == key &&
                                (*record)->value == uncertain_key_->second;
      EXPECT_TRUE((*record)->value == value || is_uncertain) << key;
    }
  }

  // From here on what was not known is as it was found.
  void Settle() {
    if (uncertain_blob_.has_value() && !blobs_->Stat(*uncertain_blob_).ok()) {
      blob_data_.erase(*uncertain_blob_);
    } else if (uncertain_blob_.has_value()) {
      const uint64_t size_bytes = blobs_->Stat(*uncertain_blob_)->size_bytes;
      blob_data_[*uncertain_blob_] = *blobs_->Get(*uncertain_blob_, 0, size_bytes);
    }
    if (uncertain_key_.has_value()) {
      const std::optional<Record> record = *catalog_->Get(uncertain_key_->first);
      if (record.has_value()) values_[record->key] = record->value;
    }
  }

  FaultDisk& disk() { return *disk_; }
  std::mt19937& random() { return random_; }
  RocksdbBlobStore& blobs() { return *blobs_; }
  RocksdbCatalog& catalog() { return *catalog_; }
  const TempFolder& folder() const { return folder_; }

 private:
  std::mt19937 random_;
  const TempFolder folder_;
  const std::shared_ptr<FaultDisk> disk_ = std::make_shared<FaultDisk>();
  const std::unique_ptr<rocksdb::Env> env_ = rocksdb::NewCompositeEnv(disk_);
  std::unique_ptr<RocksdbBlobStore> blobs_;
  std::unique_ptr<RocksdbCatalog> catalog_;
  std::map<Digest, std::string> blob_data_;
  std::map<std::string, std::string> values_;
  std::optional<Digest> uncertain_blob_;
  std::optional<std::pair<std::string, std::string>> uncertain_key_;
};

TEST(RocksdbFault, WhatWasAcknowledgedOutlivesALossOfPower) {
  for (uint32_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    FaultyStores stores(seed);
    for (int life = 0; life < 4; ++life) {
      const absl::Status opened = stores.Open();
      ASSERT_TRUE(opened.ok()) << opened;
      stores.ExpectAllThere();
      stores.Settle();
      stores.disk().FailAfter(stores.random()() % 150, Fault::kPowerLost);
      for (int i = 0; i < 200 && stores.Step().ok(); ++i) continue;
      stores.Close();
      stores.disk().LosePower(stores.random());
    }
    const absl::Status opened = stores.Open();
    ASSERT_TRUE(opened.ok()) << opened;
    stores.ExpectAllThere();
  }
}

// Of a database that is being opened, too.
TEST(RocksdbFault, ALossOfPowerWhileOpeningIsHarmless) {
  FaultyStores stores(7);
  ASSERT_TRUE(stores.Open().ok());
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(stores.Step().ok());
  stores.Close();
  for (int steps = 0;; ++steps) {
    SCOPED_TRACE(absl::StrCat("step ", steps));
    stores.disk().FailAfter(steps, Fault::kPowerLost);
    stores.Open().IgnoreError();
    const bool has_failed = stores.disk().has_failed();
    stores.Close();
    stores.disk().LosePower(stores.random());
    const absl::Status opened = stores.Open();
    ASSERT_TRUE(opened.ok()) << opened;
    stores.ExpectAllThere();
    stores.Close();
    if (!has_failed) break;
  }
}

class FailingDiskTest : public ::testing::TestWithParam<Fault> {};

TEST_P(FailingDiskTest, TheStoreGoesOnWhenTheDiskDoes) {
  for (uint32_t seed = 1; seed <= 2; ++seed) {
    for (const char* const failing : {"", ".log", ".sst", ".blob"}) {
      SCOPED_TRACE(absl::StrCat("seed ", seed, " failing *", failing));
      FaultyStores stores(seed);
      ASSERT_TRUE(stores.Open().ok());
      for (int i = 0; i < 10; ++i) ASSERT_TRUE(stores.Step().ok());
      stores.disk().SetFailing(failing);
      stores.disk().FailAfter(stores.random()() % 20, GetParam());
      absl::Status status;
      for (int i = 0; i < 2000 && !stores.disk().has_failed(); ++i) status = stores.Step();
      EXPECT_TRUE(stores.disk().has_failed());
      if (!status.ok() && GetParam() == Fault::kDiskFull) {
        EXPECT_EQ(ErrorReason(status), "DISK_FULL") << status;
      }
      // Nothing is lost meanwhile, whoever tries to write.
      for (int i = 0; i < 3; ++i) stores.ExpectAllThere();
      const Digest other = Digest::Of("other");
      for (int i = 0; i < 5; ++i) stores.blobs().Put(other, "other").IgnoreError();
      stores.disk().Heal();
      EXPECT_TRUE(stores.blobs().Put(other, "other").ok());
      Commit commit;
      commit.Write("other", "value");
      EXPECT_TRUE(stores.catalog().Apply(commit).ok());
      EXPECT_TRUE(stores.blobs().Delete(other).ok());
      stores.ExpectAllThere();
      stores.Settle();
      for (int i = 0; i < 10; ++i) ASSERT_TRUE(stores.Step().ok());
      stores.Close();
      ASSERT_TRUE(stores.Open().ok());
      stores.ExpectAllThere();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, FailingDiskTest,
                         ::testing::Values(Fault::kDiskFull, Fault::kInputOutput),
                         [](const auto& instance) {
                           return instance.param == Fault::kDiskFull ? "DiskFull" : "InputOutput";
                         });

// A commit that failed and is there all the same reaches those who watch.
TEST(RocksdbFault, WatchersMissNoCommitThatWasUncertain) {
  int reached = 0;
  for (int64_t steps = 0; steps < 12; ++steps) {
    SCOPED_TRACE(absl::StrCat("step ", steps));
    FaultyStores stores(3);
    ASSERT_TRUE(stores.Open().ok());
    const std::unique_ptr<Watcher> watcher =
        *stores.catalog().Watch("", *stores.catalog().CurrentRevision());
    stores.disk().FailAfter(steps, Fault::kInputOutput);
    std::vector<std::string> expected;
    const auto apply = [&](const std::string& key) {
      Commit commit;
      commit.Write(key, "value");
      return stores.catalog().Apply(commit).ok();
    };
    bool is_uncertain = false;
    for (const char* const key : {"a", "b", "c", "d"}) {
      const bool is_applied = apply(key);
      EXPECT_TRUE(is_applied || !std::exchange(is_uncertain, true)) << "one fault, two failures";
      expected.push_back(key);
      if (is_applied) continue;
      stores.disk().Heal();
      ASSERT_TRUE(apply("repaired"));
      const bool is_there = (*stores.catalog().Get(key)).has_value();
      reached += is_there;
      if (!is_there) expected.pop_back();
      expected.push_back("repaired");
    }
    std::vector<std::string> seen;
    while (seen.size() < expected.size()) {
      const absl::StatusOr<std::vector<Change>> changes = watcher->Next(absl::InfinitePast());
      ASSERT_TRUE(changes.ok()) << changes.status();
      if (changes->empty()) break;
      for (const Change& change : *changes) seen.push_back(change.key);
    }
    EXPECT_EQ(seen, expected);
  }
  EXPECT_GT(reached, 0);
}

// Flips single bits of whatever file, and looks at everything.
TEST(RocksdbFault, DamageIsToldAndNeverServed) {
  std::mt19937 random(11);
  FaultyStores stores(5);
  ASSERT_TRUE(stores.Open().ok());
  std::map<Digest, std::string> blobs;
  for (int i = 0; i < 30; ++i) {
    const std::string data = RandomBytes(random, 1 + random() % 60'000);
    ASSERT_TRUE(stores.blobs().Put(Digest::Of(data), data).ok());
    blobs[Digest::Of(data)] = data;
    Commit commit;
    commit.Write(absl::StrCat("key", i), data.substr(0, 3'000));
    ASSERT_TRUE(stores.catalog().Apply(commit).ok());
  }
  stores.Close();
  int told = 0;
  for (int round = 0; round < 40; ++round) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(stores.folder().path())) {
      const std::string name = entry.path().filename().string();
      const bool is_data = name.ends_with(".sst") || name.ends_with(".blob") ||
                           name.ends_with(".log") || name.starts_with("MANIFEST");
      if (entry.is_regular_file() && entry.file_size() > 0 && is_data) {
        files.push_back(entry.path());
      }
    }
    std::sort(files.begin(), files.end());
    const TempFolder spoilt;
    fs::copy(stores.folder().path(), spoilt.path(), fs::copy_options::recursive);
    const fs::path victim = fs::path(spoilt.path()) /
                            fs::relative(files[random() % files.size()], stores.folder().path());
    SCOPED_TRACE(victim.filename().string());
    const uint64_t at = random() % fs::file_size(victim);
    {
      std::fstream file(victim, std::ios::binary | std::ios::in | std::ios::out);
      file.seekg(static_cast<std::streamoff>(at));
      const char byte = static_cast<char>(file.get() ^ (1 << random() % 8));
      file.seekp(static_cast<std::streamoff>(at));
      file.put(byte);
    }
    const auto store = RocksdbBlobStore::Open(spoilt / "blobs");
    const auto catalog = RocksdbCatalog::Open(spoilt / "catalog");
    if (!store.ok() || !catalog.ok()) {
      ++told;
      continue;
    }
    for (const auto& [digest, data] : blobs) {
      const absl::StatusOr<std::string> found = (*store)->Get(digest, 0, data.size());
      EXPECT_TRUE(!found.ok() || *found == data) << "other bytes are served";
      told += !found.ok();
      EXPECT_FALSE(absl::IsNotFound(found.status()));
    }
    for (int i = 0; i < 30; ++i) {
      const absl::StatusOr<std::optional<Record>> record = (*catalog)->Get(absl::StrCat("key", i));
      told += !record.ok();
      EXPECT_TRUE(!record.ok() || record->has_value());
    }
  }
  EXPECT_GT(told, 20);
}

}  // namespace
}  // namespace wdelta
