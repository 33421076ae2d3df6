// Whatever bit of a log is flipped: opening the database finds all that was acknowledged, or fails.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "storage/base/digest.h"
#include "storage/base/error.h"
#include "storage/blobs/rocksdb_blob_store.h"
#include "storage/catalog/rocksdb_catalog.h"
#include "tests/blobs/rocksdb_log_damage.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_seed.h"

namespace wdelta {
namespace {

namespace fs = std::filesystem;
using testing::CopyFolder;
using testing::FlipBit;
using testing::kWentBack;
using testing::LogsIn;
using testing::SmallBlobStore;
using testing::SmallCatalog;
using testing::ValueOf;

// Every file with its content but LOCK, which an attempt to open may make.
std::string Fingerprint(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename() == "LOCK") continue;
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string content{std::istreambuf_iterator<char>(file),
                              std::istreambuf_iterator<char>()};
    files.push_back(
        absl::StrCat(entry.path().filename().string(), " ", Digest::Of(content).ToHex(), "\n"));
  }
  std::sort(files.begin(), files.end());
  std::string all;
  for (const std::string& file : files) all += file;
  return all;
}

// A catalog or a blob store with `count` acknowledged writes, as a kill leaves it.
struct Victim {
  const char* name;
  int count;
  size_t value_bytes;
  std::function<void(const std::string& folder, const std::string& copy, const Victim&)> make;
  // OK: opened, and everything is there.
  std::function<absl::Status(const std::string& folder, const Victim&)> open;

  friend void PrintTo(const Victim& victim, std::ostream* out) { *out << victim.name; }
};

// What a kill would leave.
void CopyRunning(rocksdb::DB& db, const std::string& from, const std::string& to) {
  ASSERT_TRUE(db.PauseBackgroundWork().ok());  // waits for what runs
  CopyFolder(from, to);
  ASSERT_TRUE(db.ContinueBackgroundWork().ok());
}

void MakeCatalog(const std::string& folder, const std::string& copy, const Victim& victim) {
  const auto catalog = RocksdbCatalog::Open(folder, SmallCatalog());
  ASSERT_TRUE(catalog.ok()) << catalog.status();
  for (int i = 0; i < victim.count; ++i) {
    ASSERT_TRUE((*catalog)
                    ->Apply(Commit().Write(absl::StrCat("key", i), ValueOf(i, victim.value_bytes)))
                    .ok());
  }
  CopyRunning(*(*catalog)->Borrow(), folder, copy);
}

absl::Status OpenCatalog(const std::string& folder, const Victim& victim) {
  const auto catalog = RocksdbCatalog::Open(folder, SmallCatalog());
  if (!catalog.ok()) return catalog.status();
  EXPECT_EQ(*(*catalog)->CurrentRevision(), static_cast<uint64_t>(victim.count));
  for (int i = 0; i < victim.count; ++i) {
    const auto record = (*catalog)->Get(absl::StrCat("key", i));
    EXPECT_TRUE(record.ok() && record->has_value()) << "commit " << i << " is lost unseen";
  }
  return absl::OkStatus();
}

void MakeBlobs(const std::string& folder, const std::string& copy, const Victim& victim) {
  const auto blobs = RocksdbBlobStore::Open(folder, SmallBlobStore());
  ASSERT_TRUE(blobs.ok()) << blobs.status();
  for (int i = 0; i < victim.count; ++i) {
    const std::string blob = ValueOf(i, victim.value_bytes);
    ASSERT_TRUE((*blobs)->Put(Digest::Of(blob), blob).ok());
  }
  CopyRunning(*(*blobs)->Borrow(), folder, copy);
}

absl::Status OpenBlobs(const std::string& folder, const Victim& victim) {
  const auto blobs = RocksdbBlobStore::Open(folder, SmallBlobStore());
  if (!blobs.ok()) return blobs.status();
  for (int i = 0; i < victim.count; ++i) {
    const std::string blob = ValueOf(i, victim.value_bytes);
    EXPECT_TRUE((*blobs)->Stat(Digest::Of(blob)).ok()) << "blob " << i << " is lost unseen";
  }
  return absl::OkStatus();
}

class DamagedLogTest : public ::testing::TestWithParam<Victim> {};

TEST_P(DamagedLogTest, EveryFlippedBitIsNoticed) {
  const uint32_t seed = testing::TestSeed();
  SCOPED_TRACE(testing::SeedTrace(seed));
  std::mt19937 random(seed);
  const TempFolder folder;
  const std::string killed = folder / "killed";
  const std::string damaged = folder / "damaged";
  GetParam().make(folder / "live", killed, GetParam());
  CopyFolder(killed, damaged);
  ASSERT_TRUE(GetParam().open(damaged, GetParam()).ok()) << "a kill alone is harmless";
  CopyFolder(killed, damaged);
  const std::vector<fs::path> logs = LogsIn(damaged);
  ASSERT_FALSE(logs.empty());
  int noticed = 0;
  int opened = 0;
  for (const fs::path& log : logs) {
    const uint64_t size = fs::file_size(log);
    const uint64_t step = std::max<uint64_t>(size / 60, 1);
    for (uint64_t at = random() % step; at < size; at += 1 + random() % (2 * step)) {
      const int bit = static_cast<int>(random() % 8);
      SCOPED_TRACE(
          absl::StrCat(log.filename().string(), ", byte ", at, " of ", size, ", bit ", bit));
      FlipBit(log, at, bit);
      const std::string before = noticed == 0 ? Fingerprint(damaged) : "";
      const absl::Status status = GetParam().open(damaged, GetParam());
      if (status.ok()) {
        ++opened;
        CopyFolder(killed, damaged);
        continue;
      }
      EXPECT_TRUE(absl::IsDataLoss(status)) << status;
      EXPECT_EQ(ErrorReason(status), kWentBack) << status;
      // Nothing is changed, so that whoever knows how may still read the log.
      if (noticed == 0) {
        EXPECT_EQ(Fingerprint(damaged), before);
      }
      ++noticed;
      FlipBit(log, at, bit);
    }
  }
  // A block's end may hold bytes that nobody reads.
  EXPECT_GT(noticed, 10 * opened);
  EXPECT_TRUE(GetParam().open(damaged, GetParam()).ok());
}

INSTANTIATE_TEST_SUITE_P(
    All, DamagedLogTest,
    ::testing::Values(Victim{"Catalog", 40, 200, MakeCatalog, OpenCatalog},
                      // Several memtables: what the earlier ones have written out says nothing
                      // of the log behind them.
                      Victim{"FlushedCatalog", 150, 1500, MakeCatalog, OpenCatalog},
                      Victim{"Blobs", 20, 2000, MakeBlobs, OpenBlobs},
                      Victim{"FlushedBlobs", 40, 20'000, MakeBlobs, OpenBlobs}),
    [](const auto& instance) { return std::string(instance.param.name); });

}  // namespace
}  // namespace wdelta
