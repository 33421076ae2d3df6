#include "storage/engine/models/lineage_index.h"

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/catalog/keys.h"
#include "storage/catalog/memory_catalog.h"
#include "store/v1/records.pb.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Refuses what a storage that is down refuses.
class SwitchedCatalog final : public Catalog {
 public:
  explicit SwitchedCatalog(const ChangeLogOptions& watch = {}) : inner_(watch) {}
  absl::StatusOr<std::optional<Record>> Get(absl::string_view key) override {
    return inner_.Get(key);
  }
  absl::StatusOr<ScanPage> Scan(const ScanRequest& request) override {
    ++scans;
    if (is_down) return absl::UnavailableError("the catalog is down");
    return inner_.Scan(request);
  }
  absl::StatusOr<uint64_t> Apply(const Commit& commit) override { return inner_.Apply(commit); }
  absl::StatusOr<uint64_t> CurrentRevision() override { return inner_.CurrentRevision(); }
  absl::StatusOr<std::unique_ptr<Watcher>> Watch(std::string prefix, uint64_t after) override {
    return inner_.Watch(std::move(prefix), after);
  }

  bool is_down = false;
  int scans = 0;

 private:
  MemoryCatalog inner_;
};

void Write(Catalog& catalog, const std::string& id, const std::vector<std::string>& parents = {},
           ModelRecord::State state = ModelRecord::READY) {
  ModelRecord record;
  record.set_id(id);
  record.set_name("name-" + id);
  record.set_state(state);
  for (const std::string& parent : parents) record.add_parents()->set_model_id(parent);
  Commit commit;
  commit.Write(keys::Model(id), record.SerializeAsString());
  ASSERT_TRUE(catalog.Apply(commit).ok());
}

void Erase(Catalog& catalog, const std::string& id) {
  Commit commit;
  commit.Erase(keys::Model(id));
  ASSERT_TRUE(catalog.Apply(commit).ok());
}

std::vector<std::string> Leaves(LineageIndex& index) {
  std::vector<std::string> ids;
  const absl::Status status = index.View([&](const LineageGraph& graph) {
    for (const LineageGraph::Index leaf : graph.Leaves("", 10'000)) {
      ids.push_back(graph.node(leaf).id);
    }
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
  return ids;
}

TEST(LineageIndex, SeesEveryCommitThatWentBefore) {
  for (const bool starts : {false, true}) {
    SwitchedCatalog catalog;
    Write(catalog, "a");
    LineageIndex index(&catalog);
    if (starts) {
      ASSERT_TRUE(index.Start().ok());
    }
    EXPECT_THAT(Leaves(index), ElementsAre("a"));
    Write(catalog, "b", {"a"});
    Write(catalog, "c", {"a"});
    EXPECT_THAT(Leaves(index), ElementsAre("b", "c"));
    Write(catalog, "b", {"a"}, ModelRecord::DELETED);
    EXPECT_THAT(Leaves(index), ElementsAre("c"));
    Erase(catalog, "b");
    Write(catalog, "c", {"a"}, ModelRecord::DELETED);
    EXPECT_THAT(Leaves(index), ElementsAre("a"));
    EXPECT_EQ(catalog.scans, 1);  // all else came by the watch
  }
}

TEST(LineageIndex, OtherRecordsAreNotItsConcern) {
  SwitchedCatalog catalog;
  LineageIndex index(&catalog);
  EXPECT_THAT(Leaves(index), IsEmpty());
  Commit commit;
  commit.Write(keys::Job("x"), "not a model").Write("modelx", "neither");
  ASSERT_TRUE(catalog.Apply(commit).ok());
  EXPECT_THAT(Leaves(index), IsEmpty());
}

TEST(LineageIndex, ReadsAgainWhatTheWatchNoLongerKeeps) {
  ChangeLogOptions few;
  few.max_changes = 2;
  SwitchedCatalog catalog(few);
  Write(catalog, "a");
  LineageIndex index(&catalog);
  EXPECT_THAT(Leaves(index), ElementsAre("a"));
  for (const char* id : {"b", "c", "d", "e"}) Write(catalog, id, {"a"});
  Erase(catalog, "b");
  EXPECT_THAT(Leaves(index), ElementsAre("c", "d", "e"));
  EXPECT_EQ(catalog.scans, 2);
}

TEST(LineageIndex, ErrorsPassAndAreOver) {
  SwitchedCatalog catalog;
  Write(catalog, "a");
  catalog.is_down = true;
  LineageIndex index(&catalog);
  EXPECT_TRUE(
      absl::IsUnavailable(index.View([](const LineageGraph&) { return absl::OkStatus(); })));
  catalog.is_down = false;
  EXPECT_THAT(Leaves(index), ElementsAre("a"));
  EXPECT_TRUE(absl::IsNotFound(
      index.View([](const LineageGraph&) { return absl::NotFoundError("of the body"); })));
}

TEST(LineageIndex, LeavesOutDamagedRecords) {
  SwitchedCatalog catalog;
  Write(catalog, "a", {"damaged"});
  Commit commit;
  commit.Write(keys::Model("damaged"), "\xff\xff").Write(keys::Model("alone"), "\xff");
  ASSERT_TRUE(catalog.Apply(commit).ok());
  LineageIndex index(&catalog);
  EXPECT_THAT(Leaves(index), ElementsAre("a"));
  const absl::Status status = index.View([](const LineageGraph& graph) {
    EXPECT_EQ(graph.visible_count(), 2u);
    EXPECT_FALSE(graph.node(*graph.Find("damaged")).is_live);
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
}

TEST(LineageIndex, ManyReadersBesideAWriter) {
  constexpr int kModels = 300;
  ChangeLogOptions few;
  few.max_changes = 20;  // so that some have to read again
  MemoryCatalog catalog(few);
  Write(catalog, "root");
  LineageIndex index(&catalog);
  ASSERT_TRUE(index.Start().ok());
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      size_t seen = 0;
      while (seen < kModels) {
        const size_t now = Leaves(index).size();
        EXPECT_GE(now, seen);
        seen = now;
      }
    });
  }
  for (int i = 1000; i < 1000 + kModels; ++i) Write(catalog, std::to_string(i), {"root"});
  for (std::thread& reader : readers) reader.join();
}

ModelRecord RecordOf(const std::string& id, ModelRecord::State state, uint64_t raw_bytes) {
  ModelRecord record;
  record.set_id(id);
  record.set_state(state);
  record.set_raw_bytes(raw_bytes);
  return record;
}

void Write(Catalog& catalog, const ModelRecord& record) {
  Commit commit;
  commit.Write(keys::Model(record.id()), record.SerializeAsString());
  ASSERT_TRUE(catalog.Apply(commit).ok());
}

// As `count logical stored`.
std::string TotalsOf(LineageIndex& index, ModelKind kind, ModelRecord::State state) {
  const auto all = index.Totals();
  EXPECT_TRUE(all.ok()) << all.status();
  const auto found = all->find({kind, state});
  if (found == all->end()) return "none";
  const ModelTotals& totals = found->second;
  return absl::StrCat(totals.model_count, " ", totals.logical_bytes, " ", totals.stored_bytes);
}

TEST(LineageIndex, TotalsFollowTheCatalogWithoutAnotherScan) {
  SwitchedCatalog catalog;
  ModelRecord base = RecordOf("a", ModelRecord::STAGED, 1000);
  base.set_staging_id("upload");
  Write(catalog, base);
  LineageIndex index(&catalog);
  EXPECT_EQ(TotalsOf(index, ModelKind::kRoot, ModelRecord::STAGED), "1 1000 1000");
  const int scans = catalog.scans;

  base.set_state(ModelRecord::READY);
  base.clear_staging_id();
  base.add_delta_pieces();
  base.set_stored_bytes(600);
  Write(catalog, base);
  ModelRecord tuned = RecordOf("b", ModelRecord::READY, 1000);
  tuned.add_parents()->set_model_id("a");
  tuned.add_delta_pieces();
  tuned.set_stored_bytes(100);
  Write(catalog, tuned);
  ModelRecord merged = RecordOf("c", ModelRecord::IMPORTING, 0);
  merged.mutable_merge();
  Write(catalog, merged);
  EXPECT_EQ(TotalsOf(index, ModelKind::kRoot, ModelRecord::STAGED), "0 0 0");
  EXPECT_EQ(TotalsOf(index, ModelKind::kRoot, ModelRecord::READY), "1 1000 600");
  EXPECT_EQ(TotalsOf(index, ModelKind::kFineTune, ModelRecord::READY), "1 1000 100");
  EXPECT_EQ(TotalsOf(index, ModelKind::kMerge, ModelRecord::IMPORTING), "1 0 0");

  // A tombstone has no bytes; a record that goes is gone.
  Write(catalog, RecordOf("a", ModelRecord::DELETED, 0));
  Erase(catalog, "b");
  EXPECT_EQ(TotalsOf(index, ModelKind::kRoot, ModelRecord::DELETED), "1 0 0");
  EXPECT_EQ(TotalsOf(index, ModelKind::kFineTune, ModelRecord::READY), "0 0 0");
  EXPECT_EQ(catalog.scans, scans);
}

}  // namespace
}  // namespace wdelta
