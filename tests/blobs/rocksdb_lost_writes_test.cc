// A database that lost acknowledged writes is not opened unless they are accepted; what only looks
// like it, a loss of power above all, is no hindrance.
#include <filesystem>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rocksdb/file_system.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/blobs/high_water_mark.h"
#include "storage/blobs/rocksdb_blob_store.h"
#include "storage/catalog/rocksdb_catalog.h"
#include "tests/blobs/rocksdb_log_damage.h"
#include "tests/support/rocksdb_fault_env.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_seed.h"

namespace wdelta {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::CopyFolder;
using testing::FaultDisk;
using testing::FlipBit;
using ::testing::HasSubstr;
using testing::kWentBack;
using testing::LogsIn;
using testing::SmallBlobStore;
using testing::ValueOf;
using Fault = testing::FaultDisk::Fault;

// Whose logs cannot be read for a while.
class UnreadableLogs final : public rocksdb::FileSystemWrapper {
 public:
  UnreadableLogs() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}

  const char* Name() const override { return "UnreadableLogs"; }
  rocksdb::IOStatus NewSequentialFile(const std::string& path, const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSSequentialFile>* file,
                                      rocksdb::IODebugContext* debug) override {
    if (absl::EndsWith(path, ".log")) return rocksdb::IOStatus::IOError("no reads");
    return FileSystemWrapper::NewSequentialFile(path, options, file, debug);
  }
};

class LostWritesTest : public ::testing::Test {
 protected:
  std::string Path() const { return folder_ / "catalog"; }

  absl::Status Open() {
    catalog_.reset();
    absl::StatusOr<std::unique_ptr<RocksdbCatalog>> opened = RocksdbCatalog::Open(Path(), options_);
    if (!opened.ok()) return opened.status();
    catalog_ = *std::move(opened);
    return absl::OkStatus();
  }
  absl::Status Apply(const std::string& key) {
    return catalog_->Apply(Commit().Write(key, "value")).status();
  }
  void Fill(int count) {
    for (int i = 0; i < count; ++i) ASSERT_TRUE(Apply(absl::StrCat("key", i)).ok());
  }
  // Of the only log.
  void DamageMiddle() const {
    const std::vector<fs::path> logs = LogsIn(Path());
    ASSERT_EQ(logs.size(), 1u);
    FlipBit(logs[0], fs::file_size(logs[0]) / 2, 3);
  }

  const TempFolder folder_;
  RocksdbCatalogOptions options_;
  std::unique_ptr<RocksdbCatalog> catalog_;
};

TEST_F(LostWritesTest, SaysWhatIsLostAndWhatToDo) {
  ASSERT_TRUE(Open().ok());
  Fill(20);
  catalog_.reset();
  DamageMiddle();
  const absl::Status lost = Open();
  EXPECT_TRUE(absl::IsDataLoss(lost));
  EXPECT_EQ(ErrorReason(lost), kWentBack);
  // A commit is two writes: a record and the revision.
  EXPECT_THAT(std::string(lost.message()),
              AllOf(HasSubstr(absl::StrCat("catalog ", Path(),
                                           ": expected 40 as the number of its "
                                           "last write, recorded in ",
                                           Path(), "/HIGH_WATER, found ")),
                    HasSubstr("Restore a backup"), HasSubstr("accept_lost_writes")));
  EXPECT_EQ(ErrorReason(Open()), kWentBack) << "not only the first time";
}

TEST_F(LostWritesTest, AreAcceptedOnce) {
  ASSERT_TRUE(Open().ok());
  Fill(20);
  catalog_.reset();
  DamageMiddle();
  std::vector<std::string> told;
  options_.accept_lost_writes = [&](absl::string_view message) { told.emplace_back(message); };
  const absl::Status accepted = Open();
  ASSERT_TRUE(accepted.ok()) << accepted;
  ASSERT_EQ(told.size(), 1u);
  EXPECT_THAT(told[0], HasSubstr("expected 40 "));
  const uint64_t revision = *catalog_->CurrentRevision();
  EXPECT_GT(revision, 0u);
  EXPECT_LT(revision, 20u);
  EXPECT_EQ(*HighWaterMark::Read(Path()), 2 * revision);
  ASSERT_TRUE(Apply("later").ok());
  options_.accept_lost_writes = nullptr;
  const absl::Status again = Open();
  ASSERT_TRUE(again.ok()) << again;
  EXPECT_TRUE((*catalog_->Get("later")).has_value());
  EXPECT_EQ(*catalog_->CurrentRevision(), revision + 1);
  EXPECT_EQ(told.size(), 1u);
}

TEST_F(LostWritesTest, AcceptingThemTellsNothingWhereNothingIsLost) {
  options_.accept_lost_writes = [](absl::string_view message) { ADD_FAILURE() << message; };
  ASSERT_TRUE(Open().ok());
  Fill(20);
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(*catalog_->CurrentRevision(), 20u);
}

// As earlier releases left it, or a restored backup.
TEST_F(LostWritesTest, AFolderWithoutAMarkGetsOne) {
  ASSERT_TRUE(Open().ok());
  Fill(20);
  catalog_.reset();
  fs::remove(HighWaterMark::PathIn(Path()));
  const absl::Status opened = Open();
  ASSERT_TRUE(opened.ok()) << opened;
  EXPECT_EQ(*catalog_->CurrentRevision(), 20u);
  EXPECT_EQ(*HighWaterMark::Read(Path()), 40u);
}

TEST_F(LostWritesTest, ADamagedMarkIsToldUnlessAccepted) {
  ASSERT_TRUE(Open().ok());
  Fill(20);
  catalog_.reset();
  folder_.Write("catalog/HIGH_WATER", std::string(8192, 'x'));
  const absl::Status refused = Open();
  EXPECT_TRUE(absl::IsDataLoss(refused)) << refused;
  EXPECT_EQ(ErrorReason(refused), "HIGH_WATER_DAMAGED");
  EXPECT_THAT(std::string(refused.message()), HasSubstr(Path()));
  int told = 0;
  options_.accept_lost_writes = [&](absl::string_view) { ++told; };
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(told, 1);
  EXPECT_EQ(*catalog_->CurrentRevision(), 20u);
  options_.accept_lost_writes = nullptr;
  EXPECT_TRUE(Open().ok());
}

// RocksDB would make a database anew, and remove the files of the one that was there.
TEST_F(LostWritesTest, MissingLogsAndAMissingDatabaseAreNoticed) {
  ASSERT_TRUE(Open().ok());
  Fill(20);
  catalog_.reset();
  const std::string kept = folder_ / "kept";
  CopyFolder(Path(), kept);
  for (const fs::path& log : LogsIn(Path())) fs::remove(log);
  EXPECT_EQ(ErrorReason(Open()), kWentBack);
  CopyFolder(kept, Path());
  fs::remove(Path() + "/CURRENT");
  // To accept it would lose all.
  for (const bool is_accepted : {false, true, false}) {
    options_.accept_lost_writes = nullptr;
    if (is_accepted) {
      options_.accept_lost_writes = [](absl::string_view message) { ADD_FAILURE() << message; };
    }
    const absl::Status lost = Open();
    EXPECT_TRUE(absl::IsDataLoss(lost));
    EXPECT_EQ(ErrorReason(lost), kWentBack) << lost;
    EXPECT_THAT(std::string(lost.message()),
                HasSubstr(absl::StrCat("catalog ", Path(), ": expected the file CURRENT in ",
                                       Path(), ", found none: write the name")));
  }
  fs::copy(kept + "/CURRENT", Path() + "/CURRENT");
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(*catalog_->CurrentRevision(), 20u);
}

// RocksDB replays what lies behind an earlier log that is gone or cut where a record ends.
TEST_F(LostWritesTest, OfAnEarlierLogAreNoticed) {
  options_.memtable_bytes = limits::kMiB;
  ASSERT_TRUE(Open().ok());
  Fill(20);
  ASSERT_TRUE(Open().ok());  // which writes the log out
  // As a kill amidst a flush leaves it.
  ASSERT_TRUE(catalog_->Borrow()->PauseBackgroundWork().ok());
  uint64_t end_of_third = 0;
  int count = 0;
  for (; LogsIn(Path()).size() < 2; ++count) {
    ASSERT_LT(count, 100);
    if (count == 3) end_of_third = fs::file_size(LogsIn(Path())[0]);
    const auto written = catalog_->Apply(Commit().Write("large", ValueOf(count, 20'000)));
    ASSERT_TRUE(written.ok()) << written.status();
  }
  Fill(3);
  const std::string kept = folder_ / "kept";
  CopyFolder(Path(), kept);
  ASSERT_TRUE(catalog_->Borrow()->ContinueBackgroundWork().ok());
  catalog_.reset();

  const fs::path first = fs::path(Path()) / LogsIn(kept)[0].filename();
  struct Case {
    const char* name;
    int found;
    std::function<void()> damage;
  };
  const Case cases[] = {{"emptied", 40, [&] { fs::resize_file(first, 0); }},
                        {"removed", 40, [&] { fs::remove(first); }},
                        {"cut", 46, [&] { fs::resize_file(first, end_of_third); }}};
  for (const Case& damaged : cases) {
    SCOPED_TRACE(damaged.name);
    options_.accept_lost_writes = nullptr;
    CopyFolder(kept, Path());
    damaged.damage();
    for (int i = 0; i < 2; ++i) {
      const absl::Status lost = Open();
      EXPECT_EQ(ErrorReason(lost), kWentBack) << lost;
      EXPECT_THAT(std::string(lost.message()),
                  AllOf(HasSubstr(absl::StrCat(": expected ", 2 * (20 + count + 3), " ")),
                        HasSubstr(absl::StrCat(", found ", damaged.found, ":"))));
    }
    int told = 0;
    options_.accept_lost_writes = [&](absl::string_view) { ++told; };
    for (int i = 0; i < 2; ++i) {
      const absl::Status accepted = Open();
      ASSERT_TRUE(accepted.ok()) << accepted;
    }
    EXPECT_EQ(told, 1);
    catalog_.reset();
  }
  options_.accept_lost_writes = nullptr;
  CopyFolder(kept, Path());
  const absl::Status whole = Open();
  ASSERT_TRUE(whole.ok()) << whole;
  EXPECT_EQ(*catalog_->CurrentRevision(), static_cast<uint64_t>(20 + count + 3));
}

TEST_F(LostWritesTest, AreToldByALookThatChangesNothing) {
  EXPECT_TRUE(RocksdbCatalog::CheckComplete(Path(), options_).ok()) << "a folder to be made";
  EXPECT_FALSE(fs::exists(Path()));
  ASSERT_TRUE(Open().ok());
  Fill(20);
  EXPECT_EQ(ErrorReason(RocksdbCatalog::CheckComplete(Path(), options_)), "DATA_DIR_IN_USE");
  catalog_.reset();
  EXPECT_TRUE(RocksdbCatalog::CheckComplete(Path(), options_).ok());
  DamageMiddle();
  EXPECT_EQ(ErrorReason(RocksdbCatalog::CheckComplete(Path(), options_)), kWentBack);
  DamageMiddle();  // mends it
  options_.is_complete = true;
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(*catalog_->CurrentRevision(), 20u);
}

// An error of the look, which may pass, does not lead to an opening that removes what it reads.
TEST_F(LostWritesTest, AFailingLookEndsTheOpening) {
  ASSERT_TRUE(Open().ok());
  Fill(20);
  catalog_.reset();
  DamageMiddle();
  const auto disk = std::make_shared<UnreadableLogs>();
  const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(disk);
  options_.env = env.get();
  const absl::Status failed = Open();
  EXPECT_TRUE(absl::IsInternal(failed)) << failed;
  EXPECT_THAT(std::string(failed.message()),
              HasSubstr(absl::StrCat("catalog ", Path(), ": open: ")));
  options_.env = rocksdb::Env::Default();
  EXPECT_EQ(ErrorReason(Open()), kWentBack);
}

// Where nothing is left that has a number.
TEST_F(LostWritesTest, AnEmptiedDatabaseHasLostNothing) {
  uint64_t recorded = 0;
  for (int life = 0; life < 5; ++life) {
    SCOPED_TRACE(life);
    const auto blobs = RocksdbBlobStore::Open(folder_ / "blobs", SmallBlobStore());
    ASSERT_TRUE(blobs.ok()) << blobs.status();
    EXPECT_EQ(*HighWaterMark::Read(folder_ / "blobs"), recorded);
    for (int i = 0; life % 2 == 0 && i < 10; ++i) {
      const std::string blob = ValueOf(i, 20'000);
      ASSERT_TRUE((*blobs)->Put(Digest::Of(blob), blob).ok());
      ASSERT_TRUE((*blobs)->Delete(Digest::Of(blob)).ok());
    }
    ASSERT_TRUE((*blobs)->Reclaim().ok());
    recorded = HighWaterMark::Read(folder_ / "blobs")->value_or(0);
    EXPECT_GT(recorded, 0u);
  }
}

TEST_F(LostWritesTest, AFolderInUseIsNotTakenForADamagedOne) {
  ASSERT_TRUE(Open().ok());
  Fill(20);
  DamageMiddle();
  EXPECT_EQ(ErrorReason(RocksdbCatalog::Open(Path()).status()), "DATA_DIR_IN_USE");
}

// A failed write opens the database anew: what it lost meanwhile stays readable until then.
TEST_F(LostWritesTest, AreNoticedWhenARunningDatabaseIsOpenedAnew) {
  const auto disk = std::make_shared<FaultDisk>();
  const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(disk);
  options_.env = env.get();
  options_.probe_pause = absl::ZeroDuration();
  ASSERT_TRUE(Open().ok());
  Fill(20);
  disk->FailAfter(0, Fault::kDiskFull);
  EXPECT_FALSE(Apply("fails").ok());
  DamageMiddle();
  disk->Heal();
  for (int i = 0; i < 2; ++i) {
    const absl::Status refused = Apply("refused");
    EXPECT_EQ(ErrorReason(refused), kWentBack) << refused;
  }
  for (int i = 0; i < 20; ++i) EXPECT_TRUE((*catalog_->Get(absl::StrCat("key", i))).has_value());
  DamageMiddle();  // mends it
  ASSERT_TRUE(Apply("mended").ok());
  EXPECT_GE(*catalog_->CurrentRevision(), 21u);
  catalog_.reset();
}

TEST_F(LostWritesTest, ARefusedOpeningAnewIsRemembered) {
  const auto disk = std::make_shared<FaultDisk>();
  const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(disk);
  options_.env = env.get();
  options_.probe_pause = absl::InfiniteDuration();
  ASSERT_TRUE(Open().ok());
  Fill(20);
  DamageMiddle();
  // The failed write is followed by a probe of a disk that is well.
  disk->FailAfter(0, Fault::kInputOutput, /*count=*/1);
  const auto refusal = [&] { return catalog_->Apply(Commit().Write("refused", "")).status(); };
  EXPECT_FALSE(refusal().ok());
  const absl::Status refused = refusal();
  DamageMiddle();  // mends it, which nobody looks at
  EXPECT_EQ(refusal(), refused);
  EXPECT_EQ(ErrorReason(refused), kWentBack) << refused;
  EXPECT_TRUE((*catalog_->Get("key19")).has_value());
  catalog_.reset();
}

// The mark itself lies on a disk that forgets nothing: the hardest case.
TEST_F(LostWritesTest, ALossOfPowerIsNeverTakenForThem) {
  const uint32_t seed = testing::TestSeed();
  SCOPED_TRACE(testing::SeedTrace(seed));
  std::mt19937 random(seed);
  const auto disk = std::make_shared<FaultDisk>();
  const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(disk);
  options_.env = env.get();
  options_.probe_pause = absl::ZeroDuration();
  int acknowledged = 0;
  for (int life = 0; life < 24; ++life) {
    SCOPED_TRACE(absl::StrCat("life ", life));
    // Few with flushes amid the life, which RocksDB lets rest for a second when they fail.
    options_.memtable_bytes = life % 12 == 0 ? 64 * limits::kKiB : limits::kMiB;
    const absl::Status opened = Open();
    ASSERT_TRUE(opened.ok()) << opened;
    EXPECT_GE(*catalog_->CurrentRevision(), static_cast<uint64_t>(acknowledged));
    acknowledged = static_cast<int>(*catalog_->CurrentRevision());
    const Fault fault = random() % 3 == 0 ? Fault::kInputOutput : Fault::kPowerLost;
    disk->FailAfter(random() % 120, fault, /*count=*/3);
    for (int i = 0; i < 100; ++i) {
      const auto revision = catalog_->Apply(
          Commit().Write(absl::StrCat("key", random() % 50), ValueOf(i, random() % 3000)));
      if (revision.ok()) acknowledged = static_cast<int>(*revision);
      if (!revision.ok() && fault == Fault::kPowerLost) break;
    }
    EXPECT_GT(HighWaterMark::Read(Path())->value_or(0), 0u);
    catalog_.reset();
    disk->LosePower(random);
  }
  EXPECT_GT(acknowledged, 100);
}

}  // namespace
}  // namespace wdelta
