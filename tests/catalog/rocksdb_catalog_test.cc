#include "storage/catalog/rocksdb_catalog.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "tests/conformance/catalog_suite.h"
#include "tests/support/temp_folder.h"

namespace wdelta {
namespace {

// Owns a temporary folder and the catalog in it.
class RocksdbHarness final : public CatalogHarness {
 public:
  RocksdbHarness() { Reopen(); }
  Catalog& catalog() override { return *catalog_; }
  const std::string& path() const { return folder_.path(); }
  void Reopen() override {
    catalog_.reset();
    auto opened = RocksdbCatalog::Open(folder_.path());
    ASSERT_TRUE(opened.ok()) << opened.status();
    catalog_ = *std::move(opened);
  }

 private:
  const TempFolder folder_;
  std::unique_ptr<RocksdbCatalog> catalog_;
};

std::unique_ptr<CatalogHarness> NewHarness() { return std::make_unique<RocksdbHarness>(); }

INSTANTIATE_TEST_SUITE_P(Rocksdb, CatalogSuite, testing::Values(NewHarness));

TEST(RocksdbCatalog, RefusesAFolderInUse) {
  RocksdbHarness harness;
  const auto second = RocksdbCatalog::Open(harness.path());
  ASSERT_FALSE(second.ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status())) << second.status();
  EXPECT_EQ(ErrorReason(second.status()), "DATA_DIR_IN_USE");
  EXPECT_THAT(std::string(second.status().message()), testing::HasSubstr(harness.path()));
}

TEST(RocksdbCatalog, KeepsEverythingOverManyReopens) {
  RocksdbHarness harness;
  for (uint64_t i = 1; i <= 10; ++i) {
    const auto revision = harness.catalog().Apply(Commit().Write(absl::StrCat("k", i), "v"));
    ASSERT_TRUE(revision.ok()) << revision.status();
    EXPECT_EQ(*revision, i);
    harness.Reopen();
    EXPECT_EQ(*harness.catalog().CurrentRevision(), i);
  }
  EXPECT_EQ(harness.catalog().Scan({.limit = 100})->records.size(), 10u);
}

TEST(RocksdbCatalog, WatchesOnlyFromTheReopenOn) {
  RocksdbHarness harness;
  ASSERT_TRUE(harness.catalog().Apply(Commit().Write("a", "1")).ok());
  ASSERT_TRUE(harness.catalog().Apply(Commit().Write("a", "2")).ok());
  harness.Reopen();
  EXPECT_TRUE(absl::IsOutOfRange(harness.catalog().Watch("", 1).status()));
  const auto watcher = harness.catalog().Watch("", 2);
  ASSERT_TRUE(watcher.ok()) << watcher.status();
  ASSERT_TRUE(harness.catalog().Apply(Commit().Write("a", "3")).ok());
  const auto changes = (*watcher)->Next(absl::InfinitePast());
  ASSERT_TRUE(changes.ok()) << changes.status();
  ASSERT_EQ(changes->size(), 1u);
  EXPECT_EQ(changes->front().revision, 3u);
}

}  // namespace
}  // namespace wdelta
