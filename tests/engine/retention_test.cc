// Retention rules let go what none of their keeps names, and never more.
#include "storage/engine/gc/retention.h"

#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/catalog/keys.h"
#include "tests/engine/gc_fixture.h"
#include "tests/support/test_seed.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;
using store::v1::RetentionRuleRecord;
using ::testing::ElementsAre;
using testing::Files;
using ::testing::IsEmpty;

RetentionRuleRecord Rule(const std::string& name, uint64_t keep_last, uint64_t keep_every = 0) {
  RetentionRuleRecord rule;
  rule.set_name(name);
  rule.set_keep_last(keep_last);
  rule.set_keep_every(keep_every);
  return rule;
}

class RetentionTest : public testing::GcFixture {
 protected:
  // One more checkpoint of a run; returns its id.
  std::string Checkpoint(const std::string& name, const StringMap& labels = {}) {
    StartUploadParams params;
    params.name = name;
    params.new_version = true;
    params.labels = labels;
    const Files files = {{"step.txt", absl::StrCat("step ", ++made_)}};
    const absl::StatusOr<FinishedUpload> upload = Upload(std::move(params), files);
    EXPECT_TRUE(upload.ok()) << upload.status();
    RunJobs();
    return upload.ok() ? upload->model.record.id() : "";
  }

  void Set(const RetentionRuleRecord& rule) {
    const auto set = store_->maintenance().rules().Set(rule);
    EXPECT_TRUE(set.ok()) << set.status();
  }

  std::vector<ExpiredModel> Planned() {
    std::vector<ExpiredModel> expired;
    const std::map<std::string, std::string> before = AllRecords();
    GcPlanSink sink;
    sink.deletion = [&](const ExpiredModel& model) {
      expired.push_back(model);
      return absl::OkStatus();
    };
    sink.freed = [](const std::string&, const std::string&, uint64_t) { return absl::OkStatus(); };
    sink.rewrite = [](const RewriteEstimate&) { return absl::OkStatus(); };
    sink.kept = [](const std::string&, const std::string&, const GcUnit&) {
      return absl::OkStatus();
    };
    sink.alive = [] { return absl::OkStatus(); };
    const absl::StatusOr<GcPlanTotals> totals = store_->maintenance().PlanGc(sink);
    EXPECT_TRUE(totals.ok()) << totals.status();
    EXPECT_EQ(totals.ok() ? totals->models_deleted : 0, expired.size());
    EXPECT_EQ(AllRecords(), before) << "a plan changed something";
    return expired;
  }

  // Runs a gc, and checks that it did as planned.
  void Collect() {
    const size_t planned = Planned().size();
    const store::v1::GcReport report = RunGc();
    EXPECT_EQ(report.models_deleted(), planned);
    EXPECT_GE(report.models_freed(), planned);
  }

  bool IsLive(const std::string& id) { return store_->models().Resolve("id:" + id).ok(); }

  // Positions from 1 of those that live, of ids in order.
  std::vector<int> Live(const std::vector<std::string>& ids) {
    std::vector<int> live;
    for (size_t i = 0; i < ids.size(); ++i) {
      if (IsLive(ids[i])) live.push_back(static_cast<int>(i) + 1);
    }
    return live;
  }

  std::vector<std::string> Checkpoints(const std::string& name, int count,
                                       const StringMap& labels = {}) {
    std::vector<std::string> ids;
    for (int i = 0; i < count; ++i) ids.push_back(Checkpoint(name, labels));
    return ids;
  }

  int made_ = 0;
};

TEST_F(RetentionTest, KeepsTheNewestEveryKthAndTaggedOnes) {
  const std::vector<std::string> ids = Checkpoints("run", 10);
  ASSERT_TRUE(store_->models().SetTag("run", "best", "id:" + ids[1]).ok());
  Set(Rule("rule", 2, 4));
  const std::vector<ExpiredModel> planned = Planned();
  ASSERT_EQ(planned.size(), 5u);
  EXPECT_EQ(planned[0].model_id, ids[0]);
  EXPECT_EQ(planned[0].rule, "rule");
  EXPECT_EQ(planned[0].run, "run");
  EXPECT_EQ(planned[0].position, 1u);
  Collect();
  EXPECT_THAT(Live(ids), ElementsAre(2, 4, 8, 9, 10));
  EXPECT_EQ(RecordOf("run").id(), ids[9]);
  // Without its tag there is no reason left.
  ASSERT_TRUE(store_->models().DeleteTag("run", "best").ok());
  Collect();
  EXPECT_THAT(Live(ids), ElementsAre(4, 8, 9, 10));
  EXPECT_THAT(Planned(), IsEmpty());
}

TEST_F(RetentionTest, PositionsStayWhenOthersGo) {
  std::vector<std::string> ids = Checkpoints("run", 5);
  for (const int i : {0, 1, 4}) ASSERT_TRUE(store_->models().Delete("id:" + ids[i]).ok());
  RunJobs();
  for (int i = 0; i < 5; ++i) ids.push_back(Checkpoint("run"));
  Set(Rule("rule", 1, 3));
  Collect();
  EXPECT_THAT(Live(ids), ElementsAre(3, 6, 9, 10));
  Collect();
  EXPECT_THAT(Live(ids), ElementsAre(3, 6, 9, 10));
  ids.push_back(Checkpoint("run"));
  ids.push_back(Checkpoint("run"));
  Collect();
  EXPECT_THAT(Live(ids), ElementsAre(3, 6, 9, 12));
}

TEST_F(RetentionTest, TaggedOnesGoWhereTheRuleSaysSo) {
  const std::vector<std::string> ids = Checkpoints("run", 3);
  ASSERT_TRUE(store_->models().SetTag("run", "best", "id:" + ids[0]).ok());
  RetentionRuleRecord rule = Rule("rule", 1);
  rule.set_delete_tagged(true);
  Set(rule);
  Collect();
  EXPECT_THAT(Live(ids), ElementsAre(3));
  EXPECT_THAT(store_->models().ListTags("", "", 10)->items, IsEmpty());
}

TEST_F(RetentionTest, ARunMayBeWhatSharesALabel) {
  std::vector<std::string> red;
  std::vector<std::string> blue;
  for (int i = 0; i < 5; ++i) {
    red.push_back(Checkpoint(absl::StrCat("model", i), {{"experiment", "red/1"}}));
    blue.push_back(Checkpoint(absl::StrCat("other", i), {{"experiment", "blue"}}));
  }
  const std::string unlabelled = Checkpoint("plain");
  RetentionRuleRecord rule = Rule("rule", 1, 2);
  rule.set_run_label("experiment");
  Set(rule);
  const std::vector<ExpiredModel> planned = Planned();
  ASSERT_EQ(planned.size(), 4u);
  EXPECT_EQ(planned[0].run, "experiment=blue");
  Collect();
  EXPECT_THAT(Live(red), ElementsAre(2, 4, 5));
  EXPECT_THAT(Live(blue), ElementsAre(2, 4, 5));
  EXPECT_TRUE(IsLive(unlabelled));
  // Stable as with names, also when some go by hand.
  ASSERT_TRUE(store_->models().Delete("id:" + red[3]).ok());
  red.push_back(Checkpoint("model9", {{"experiment", "red/1"}}));
  red.push_back(Checkpoint("model10", {{"experiment", "red/1"}}));
  Collect();
  EXPECT_THAT(Live(red), ElementsAre(2, 6, 7));
  // The counter of a run goes with its last model.
  const auto runs = [this] {
    return catalog_.Scan({"label_run/", PrefixEnd("label_run/"), 10, false})->records.size();
  };
  EXPECT_EQ(runs(), 2u);
  for (const std::string& id : red) (void)store_->models().Delete("id:" + id);
  RunGc();
  EXPECT_EQ(runs(), 1u);
}

TEST_F(RetentionTest, WhatAnyRuleKeepsStays) {
  const std::vector<std::string> ids = Checkpoints("run-a", 6);
  const std::vector<std::string> others = Checkpoints("other", 3);
  RetentionRuleRecord strict = Rule("strict", 1);
  strict.set_name_pattern("run-*");
  Set(strict);
  Set(Rule("every-third", 2, 3));
  const std::vector<ExpiredModel> planned = Planned();
  ASSERT_FALSE(planned.empty());
  Collect();
  EXPECT_THAT(Live(ids), ElementsAre(3, 5, 6));
  EXPECT_THAT(Live(others), ElementsAre(2, 3));
}

TEST_F(RetentionTest, OnlyReadyModelsCount) {
  const std::vector<std::string> ids = Checkpoints("run", 2);
  StartUploadParams params;
  params.name = "run";
  params.new_version = true;
  const absl::StatusOr<FinishedUpload> staged = Upload(params, {{"step.txt", "staged"}});
  ASSERT_TRUE(staged.ok());
  ASSERT_TRUE(store_->jobs().RequestCancel(staged->job_id).ok());
  Set(Rule("rule", 1));
  Collect();
  EXPECT_THAT(Live(ids), ElementsAre(2));
  EXPECT_TRUE(IsLive(staged->model.record.id()));
}

// Models from before there were positions.
TEST_F(RetentionTest, MissingPositionsAreGivenOnceAndForAll) {
  const std::vector<std::string> ids = Checkpoints("run", 4);
  Commit commit;
  for (const std::string& id : ids) {
    ModelRecord record = (*store_->models().GetById(id))->record;
    EXPECT_GT(record.run_position(), 0u);
    record.clear_run_position();
    commit.Write(keys::Model(id), record.SerializeAsString());
  }
  store::v1::NameRecord name;
  name.set_model_id(ids[3]);
  commit.Write(keys::Name("run"), name.SerializeAsString());
  ASSERT_TRUE(catalog_.Apply(commit).ok());
  Set(Rule("rule", 1, 2));
  Collect();
  EXPECT_THAT(Live(ids), ElementsAre(2, 4));
  EXPECT_EQ(RecordOf("id:" + ids[3]).run_position(), 4u);
  Collect();
  EXPECT_THAT(Live(ids), ElementsAre(2, 4));
}

TEST_F(RetentionTest, WhatChangesMeanwhileStays) {
  const std::vector<std::string> ids = Checkpoints("run", 4);
  Set(Rule("rule", 1));
  const std::vector<ExpiredModel> expired = Planned();
  ASSERT_EQ(expired.size(), 3u);
  ASSERT_TRUE(store_->models().SetTag("run", "late", "id:" + ids[0]).ok());
  EXPECT_FALSE(*DeleteExpired(store_->models(), expired[0]));
  EXPECT_TRUE(*DeleteExpired(store_->models(), expired[1]));
  // The newest goes, and what is now the newest must stay.
  ASSERT_TRUE(store_->models().Delete("id:" + ids[3]).ok());
  EXPECT_FALSE(*DeleteExpired(store_->models(), expired[2]));
  EXPECT_THAT(Live(ids), ElementsAre(1, 3));
}

TEST_F(RetentionTest, ARuleThatIsTakenBackMeanwhileDeletesNothing) {
  const std::vector<std::string> ids = Checkpoints("run", 4);
  Set(Rule("rule", 1));
  const std::vector<ExpiredModel> expired = Planned();
  ASSERT_EQ(expired.size(), 3u);
  EXPECT_TRUE(*DeleteExpired(store_->models(), expired[0]));
  Set(Rule("another", 3));  // which keeps them
  EXPECT_FALSE(*DeleteExpired(store_->models(), expired[1]));
  ASSERT_TRUE(store_->maintenance().rules().Delete("rule").ok());
  EXPECT_FALSE(*DeleteExpired(store_->models(), expired[2]));
  EXPECT_THAT(Live(ids), ElementsAre(2, 3, 4));
}

TEST_F(RetentionTest, AModelThatChangesItsRunGetsANewPosition) {
  RetentionRuleRecord rule = Rule("rule", 1, 2);
  rule.set_run_label("experiment");
  Set(rule);
  const std::string first = Checkpoint("model1", {{"experiment", "red"}});
  const std::string second = Checkpoint("model2", {{"experiment", "red"}});
  RunGc();
  EXPECT_EQ(RecordOf("model2").label_run_positions().at("experiment"), 2u);
  const auto relabel = [&](const StringMap& labels) {
    ASSERT_TRUE(store_->models().Update("model2", labels, std::nullopt, 0).ok());
  };
  relabel({{"experiment", "red"}, {"other", "label"}});
  EXPECT_EQ(RecordOf("model2").label_run_positions().at("experiment"), 2u);
  relabel({{"experiment", "blue"}});
  EXPECT_THAT(RecordOf("model2").label_run_positions(), IsEmpty());
  RunGc();
  EXPECT_EQ(RecordOf("model2").label_run_positions().at("experiment"), 1u);
}

TEST_F(RetentionTest, RulesAreCheckedListedAndDeleted) {
  RetentionRules& rules = store_->maintenance().rules();
  EXPECT_EQ(ErrorReason(rules.Set(Rule("bad name", 1)).status()), "BAD_RULE");
  EXPECT_EQ(ErrorReason(rules.Set(Rule("rule", 0)).status()), "BAD_RULE");
  RetentionRuleRecord rule = Rule("rule", 1);
  rule.set_run_label("\xff");
  EXPECT_EQ(GetErrorDetails(rules.Set(rule).status())[0].second, "run_label");
  rule = Rule("rule", 1);
  rule.set_name_pattern(std::string(limits::kMaxLabelBytes + 1, '*'));
  EXPECT_EQ(GetErrorDetails(rules.Set(rule).status())[0].second, "name_pattern");
  for (const char* name : {"c", "a", "b"}) Set(Rule(name, 1));
  Set(Rule("a", 7));
  const Page<RetentionRuleRecord> first = *rules.List("", 2);
  ASSERT_EQ(first.items.size(), 2u);
  EXPECT_EQ(first.items[0].keep_last(), 7u);
  const Page<RetentionRuleRecord> rest = *rules.List(first.next, 2);
  ASSERT_EQ(rest.items.size(), 1u);
  EXPECT_EQ(rest.items[0].name(), "c");
  EXPECT_EQ(rest.next, "");
  EXPECT_TRUE(rules.Delete("b").ok());
  EXPECT_EQ(ErrorReason(rules.Delete("b")), "RULE_NOT_FOUND");
}

// Against the rules in their plainest form.
TEST_F(RetentionTest, RandomRunsAndRules) {
  const uint32_t seed = testing::TestSeed();
  SCOPED_TRACE(testing::SeedTrace(seed));
  std::mt19937 random(seed);
  std::vector<std::string> ids;
  std::set<std::string> live;
  std::set<std::string> tagged;
  uint64_t last = 0;
  uint64_t every = 0;
  for (int step = 0; step < 60; ++step) {
    const auto any = [&] {
      auto it = live.begin();
      std::advance(it, random() % live.size());
      return *it;
    };
    switch (random() % 5) {
      case 0:
      case 1:
        ids.push_back(Checkpoint("run"));
        live.insert(ids.back());
        break;
      case 2:
        if (live.size() < 2) break;
        if (const std::string id = any(); true) {
          ASSERT_TRUE(store_->models().Delete("id:" + id).ok());
          live.erase(id);
          tagged.erase(id);
        }
        break;
      case 3:
        if (live.empty()) break;
        if (const std::string id = any(); true) {
          ASSERT_TRUE(store_->models().SetTag("tags", absl::StrCat("t", step), "id:" + id).ok());
          tagged.insert(id);
        }
        break;
      case 4: {
        last = 1 + random() % 4;
        every = random() % 5;
        Set(Rule("rule", last, every));
        Collect();
        const std::vector<std::string> by_age(live.begin(), live.end());
        for (size_t i = 0; i < by_age.size(); ++i) {
          const size_t position = std::find(ids.begin(), ids.end(), by_age[i]) - ids.begin() + 1;
          const bool stays = by_age.size() - i <= last || tagged.contains(by_age[i]) ||
                             (every > 0 && position % every == 0);
          EXPECT_EQ(IsLive(by_age[i]), stays) << "position " << position;
          if (!stays) live.erase(by_age[i]);
        }
        break;
      }
    }
  }
}

}  // namespace
}  // namespace wdelta
