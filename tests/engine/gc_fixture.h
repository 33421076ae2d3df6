// An engine whose garbage is collected, for tests.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta::testing {

class GcFixture : public EngineTest {
 protected:
  void UploadReady(const std::string& name, const Files& files,
                   const std::vector<std::string>& parents = {}) {
    const absl::StatusOr<FinishedUpload> upload = Upload(name, files, parents);
    ASSERT_TRUE(upload.ok()) << upload.status();
    RunJobs();
    ASSERT_EQ(RecordOf(name).state(), store::v1::ModelRecord::READY);
    ids_[name] = RecordOf(name).id();
    files_of_[name] = files;
  }

  // `base`, and fine-tunes `tuned1`… that are encoded against it.
  void UploadFamily(int count) {
    UploadReady("base", SmallCheckpoint(1));
    for (int i = 1; i <= count; ++i) {
      const std::string name = "tuned" + std::to_string(i);
      UploadReady(name, SmallCheckpoint(1, 10 + i), {"base"});
      ASSERT_EQ(RecordOf(name).storage_parent_id(), ids_["base"]);
    }
  }

  void Delete(const std::string& name) {
    ASSERT_TRUE(store_->models().Delete(name).ok());
    files_of_.erase(name);
    TryJobs().IgnoreError();
  }

  void RestartWithChainDepth(uint32_t max_chain_depth) {
    storage_policy_.max_chain_depth = max_chain_depth;
    Restart();
  }

  store::v1::JobRecord StartGc() {
    const absl::StatusOr<std::string> id = store_->maintenance().StartGc();
    EXPECT_TRUE(id.ok()) << id.status();
    return store_->jobs().Get(*id)->record;
  }

  store::v1::GcReport RunGc() {
    const std::string id = StartGc().id();
    TryJobs().IgnoreError();
    const store::v1::JobRecord job = store_->jobs().Get(id)->record;
    EXPECT_EQ(job.state(), store::v1::JobRecord::SUCCEEDED) << job.error();
    return job.gc_report();
  }

  struct Plan {
    std::vector<std::string> freed;
    std::vector<std::string> rewritten;
    std::vector<std::string> kept;
    GcPlanTotals totals;
  };
  Plan PlanGc() {
    const std::map<std::string, std::string> before = AllRecords();
    Plan plan;
    GcPlanSink sink;
    sink.deletion = [](const ExpiredModel&) { return absl::OkStatus(); };
    sink.freed = [&](const std::string&, const std::string& name, uint64_t) {
      plan.freed.push_back(name);
      return absl::OkStatus();
    };
    sink.rewrite = [&](const RewriteEstimate& rewrite) {
      plan.rewritten.push_back(rewrite.name);
      return absl::OkStatus();
    };
    sink.kept = [&](const std::string&, const std::string& name, const GcUnit&) {
      plan.kept.push_back(name);
      return absl::OkStatus();
    };
    sink.alive = [] { return absl::OkStatus(); };
    const absl::StatusOr<GcPlanTotals> totals = store_->maintenance().PlanGc(sink);
    EXPECT_TRUE(totals.ok()) << totals.status();
    if (totals.ok()) plan.totals = *totals;
    EXPECT_EQ(AllRecords(), before) << "a plan changed something";
    return plan;
  }

  std::map<std::string, std::string> AllRecords() {
    std::map<std::string, std::string> records;
    const ScanPage page = *catalog_.Scan({"", "", 100'000, false});
    for (const Record& record : page.records) records[record.key] = record.value;
    return records;
  }

  bool HasRecord(const std::string& name) {
    return store_->models().GetById(ids_[name])->has_value();
  }
  bool HoldsBytesOf(const std::string& name) {
    const std::optional<Model> model = *store_->models().GetById(ids_[name]);
    return model.has_value() && model->record.delta_pieces_size() > 0;
  }

  void ExpectAllReadable() {
    for (const auto& [name, files] : files_of_) EXPECT_TRUE(ReadBack(name) == files) << name;
  }

  uint64_t StoredBytes() {
    uint64_t bytes = 0;
    const BlobPage page = *blobs_.List("", 10'000);
    for (const BlobInfo& blob : page.blobs) bytes += blob.size_bytes;
    return bytes;
  }

  std::map<std::string, std::string> ids_;  // by name
  std::map<std::string, Files> files_of_;   // of live models
};

}  // namespace wdelta::testing
