// A scrape costs the same however many models there are.
#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/operations/operations.h"
#include "spdlog/sinks/null_sink.h"
#include "storage/base/clock.h"
#include "storage/blobs/memory_blob_store.h"
#include "storage/catalog/keys.h"
#include "storage/catalog/memory_catalog.h"
#include "tests/support/metric_text.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {
namespace {

constexpr int kModels = 20'000;

class CountingCatalog final : public Catalog {
 public:
  absl::StatusOr<std::optional<Record>> Get(absl::string_view key) override {
    ++gets;
    return inner_.Get(key);
  }
  absl::StatusOr<ScanPage> Scan(const ScanRequest& request) override {
    ++scans;
    return inner_.Scan(request);
  }
  absl::StatusOr<uint64_t> Apply(const Commit& commit) override { return inner_.Apply(commit); }
  absl::StatusOr<uint64_t> CurrentRevision() override { return inner_.CurrentRevision(); }
  absl::StatusOr<std::unique_ptr<Watcher>> Watch(std::string prefix, uint64_t after) override {
    return inner_.Watch(std::move(prefix), after);
  }

  std::atomic<int> gets = 0;
  std::atomic<int> scans = 0;

 private:
  MemoryCatalog inner_;
};

void WriteModel(Catalog& catalog, const std::string& id) {
  store::v1::ModelRecord record;
  record.set_id(id);
  record.set_name(absl::StrCat("name-", id));
  record.set_state(store::v1::ModelRecord::READY);
  record.set_raw_bytes(10);
  Commit commit;
  commit.Write(keys::Model(id), record.SerializeAsString());
  ASSERT_TRUE(catalog.Apply(commit).ok());
}

TEST(ScrapeCost, NoScrapeButTheFirstReadsTheModels) {
  const TempFolder folder;
  const SystemClock clock;
  const std::unique_ptr<FileSystem> files = NewPosixFileSystem();
  MemoryBlobStore blobs;
  CountingCatalog catalog;
  for (int i = 0; i < kModels; ++i) WriteModel(catalog, absl::StrCat("model", i));
  ModelStoreOptions options;
  options.staging_dir = folder.path();
  ModelStore store({&blobs, &catalog, files.get(), &clock}, options);
  ASSERT_TRUE(store.Recover().ok());

  spdlog::logger log("test", std::make_shared<spdlog::sinks::null_sink_mt>());
  const auto operations = Operations::Start("", &log);
  ASSERT_TRUE(operations.ok()) << operations.status();
  const auto watch = (*operations)->WatchParts({&store, nullptr, nullptr, {}});
  const auto models = [&] {
    const absl::StatusOr<MetricText> parsed = MetricText::Parse((*operations)->metrics().Scrape());
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    return parsed.value_or(MetricText()).Sum("wdelta_models");
  };
  EXPECT_EQ(models(), kModels);

  const int scans = catalog.scans;
  const int gets = catalog.gets;
  WriteModel(catalog, "another");
  EXPECT_EQ(models(), kModels + 1);
  EXPECT_EQ(catalog.scans, scans);
  EXPECT_LE(catalog.gets, gets + 2);  // the last scrub
}

}  // namespace
}  // namespace wdelta::testing
