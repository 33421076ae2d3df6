// Garbage collection of tests/data with the real binaries.
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/daemon.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

class MaintenanceTest : public ::testing::Test {
 protected:
  static std::string DataOf(const std::string& name) {
    return std::string(WDELTA_TEST_DATA_DIR) + "/" + name;
  }
  void Push(const std::string& name, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {"push", DataOf(name), "--name", name, "--wait"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    daemon_.WdeltaOk(arguments);
  }
  Json RunJson(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"--output", "json"});
    return Json::parse(daemon_.WdeltaOk(arguments), nullptr, false);
  }
  // Pulls into a folder of its own; `pull` itself verifies the digests of the push.
  std::string Pulled(const std::string& model, const std::string& file) const {
    daemon_.WdeltaOk({"pull", model, folder_ / ("out-" + model)});
    return folder_.Read("out-" + model + "/" + file);
  }
  static std::string FileOf(const std::string& name, const std::string& file) {
    std::ifstream stream(DataOf(name) + "/" + file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  }

  const TempFolder folder_;
  const Daemon daemon_{folder_ / "data"};
};

TEST_F(MaintenanceTest, GcFreesADeletedBase) {
  Push("base");
  Push("ft-kjv", {"--parent", "base"});
  Push("ft-perl", {"--parent", "base"});
  Push("ft-kjv-2", {"--parent", "ft-kjv"});
  daemon_.WdeltaOk({"rm", "base"});

  const Json plan = RunJson({"gc", "--dry-run"});
  ASSERT_EQ(plan["freed"].size(), 1u) << plan;
  EXPECT_EQ(plan["freed"][0]["name"], "base");
  ASSERT_GE(plan["rewrites"].size(), 2u);
  EXPECT_LT(plan["totals"]["growth_bytes"], plan["totals"]["freed_bytes"]);
  EXPECT_THAT(daemon_.WdeltaOk({"gc", "--dry_run"}), HasSubstr("would free"));

  const Json job = RunJson({"gc", "--wait"});
  EXPECT_EQ(job["kind"], "gc");
  EXPECT_EQ(job["state"], "succeeded");
  EXPECT_EQ(job["gc_report"]["models_rewritten"], plan["rewrites"].size());
  EXPECT_EQ(job["gc_report"]["models_freed"], 1);
  EXPECT_GT(job["gc_report"]["freed_bytes"], job["gc_report"]["written_bytes"]);
  for (const char* name : {"ft-kjv", "ft-perl", "ft-kjv-2"}) {
    EXPECT_TRUE(Pulled(name, "model.safetensors") == FileOf(name, "model.safetensors")) << name;
  }
  EXPECT_THAT(daemon_.WdeltaOk({"gc", "--wait"}), HasSubstr("freed 0 B"));
  EXPECT_THAT(daemon_.WdeltaOk({"gc"}), HasSubstr("job"));
}

TEST_F(MaintenanceTest, RetentionRulesThinOutARun) {
  for (const char* name : {"base", "ft-kjv", "ft-perl", "ft-kjv-2", "merge-kjv-perl"}) {
    daemon_.WdeltaOk({"push", DataOf(name), "--name", "run", "--new-version", "--wait"});
    if (std::string(name) == "base") daemon_.WdeltaOk({"tag", "run@first", "run"});
  }
  daemon_.WdeltaOk({"retention", "set", "thin", "--names", "r*", "--keep-last", "1"});
  const Json rules = RunJson({"retention", "list"});
  ASSERT_EQ(rules.size(), 1u);
  EXPECT_EQ(rules[0]["name"], "thin");
  EXPECT_EQ(rules[0]["keep_last"], 1);
  EXPECT_THAT(daemon_.WdeltaOk({"retention", "list"}), HasSubstr("thin"));
  daemon_.WdeltaOk({"retention", "set", "thin", "--keep-last", "1", "--keep-every", "2"});

  const Json plan = RunJson({"gc", "--dry-run"});
  ASSERT_EQ(plan["deletions"].size(), 1u) << plan;
  EXPECT_EQ(plan["deletions"][0]["rule"], "thin");
  EXPECT_EQ(plan["deletions"][0]["position"], 3);
  EXPECT_THAT(daemon_.WdeltaOk({"gc", "--dry-run"}), HasSubstr("rule thin"));
  EXPECT_EQ(RunJson({"ls"}).size(), 5u);
  EXPECT_EQ(RunJson({"gc", "--wait"})["gc_report"]["models_deleted"], 1);
  EXPECT_EQ(RunJson({"ls"}).size(), 4u);
  EXPECT_TRUE(Pulled("run", "model.safetensors") == FileOf("merge-kjv-perl", "model.safetensors"));
  EXPECT_TRUE(Pulled("run@first", "model.safetensors") == FileOf("base", "model.safetensors"));

  EXPECT_EQ(RunJson({"retention", "rm", "thin"})["deleted"], "thin");
  const CommandResult unknown = daemon_.Wdelta({"retention", "rm", "thin"});
  EXPECT_NE(unknown.exit_code, 0);
  EXPECT_THAT(unknown.err, HasSubstr("retention rm"));
  EXPECT_THAT(unknown.err, HasSubstr("RULE_NOT_FOUND"));
  EXPECT_NE(daemon_.Wdelta({"retention", "set", "x", "--keep-last", "0"}).exit_code, 0);
}

}  // namespace
}  // namespace wdelta::testing
