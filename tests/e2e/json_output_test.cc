// `--output json`: every command prints one JSON document and nothing else.
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/daemon.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {
namespace {

using Json = nlohmann::json;

class JsonOutputTest : public ::testing::Test {
 protected:
  JsonOutputTest() : daemon_(folder_ / "data") {
    for (const auto& [path, bytes] : SmallCheckpoint(1)) folder_.Write("base/" + path, bytes);
    for (const auto& [path, bytes] : SmallCheckpoint(1, 2)) folder_.Write("tuned/" + path, bytes);
  }

  Json Run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"--output", "json"});
    const std::string text = daemon_.WdeltaOk(arguments);
    Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    EXPECT_FALSE(json.is_discarded()) << arguments[0] << ": " << text;
    return json;
  }

  const TempFolder folder_;
  const Daemon daemon_;
};

TEST_F(JsonOutputTest, IsValidForEachCommand) {
  const Json pushed = Run({"push", folder_ / "base", "--name", "base", "--wait"});
  EXPECT_EQ(pushed["model"]["state"], "ready");
  EXPECT_EQ(Run({"push", folder_ / "tuned", "--name", "tuned", "--parent", "base", "--wait",
                 "--label", "team=nlp"})["model"]["labels"]["team"],
            "nlp");
  EXPECT_EQ(Run({"ls"}).size(), 2u);
  const Json shown = Run({"show", "tuned", "--tensors"});
  EXPECT_EQ(shown["tensors"].size(), 5u);
  EXPECT_EQ(shown["parents"][0]["name"], "base");
  const Json explained = Run({"explain", "tuned"});
  EXPECT_EQ(explained["candidates"][explained["chosen"].get<size_t>()]["name"], "base");
  EXPECT_EQ(Run({"log"}).size(), 2u);
  EXPECT_EQ(Run({"log", "base"}).size(), 2u);
  EXPECT_EQ(Run({"tag", "tuned@prod", "tuned"})["tag"], "prod");
  EXPECT_EQ(Run({"tag"}).size(), 1u);
  EXPECT_EQ(Run({"tag", "--delete", "tuned@prod"})["deleted"], "tuned@prod");
  const Json jobs = Run({"jobs"});
  ASSERT_EQ(jobs.size(), 2u);
  EXPECT_EQ(jobs[0]["state"], "succeeded");
  const std::string job = jobs[0]["id"];
  EXPECT_EQ(Run({"jobs", job})["id"], job);
  EXPECT_EQ(Run({"jobs", job, "--watch"})["id"], job);
  EXPECT_TRUE(Run({"pull", "tuned", folder_ / "copy"}).is_object());
  EXPECT_TRUE(Run({"export", "tuned", folder_ / "tuned.wdelta"}).is_object());
  EXPECT_TRUE(Run({"inspect", folder_ / "tuned.wdelta"}).is_object());
  EXPECT_EQ(Run({"import", folder_ / "tuned.wdelta", "--name", "again", "--wait"})["model"]["name"],
            "again");
  EXPECT_EQ(Run({"version"})["server"]["model_count"], 3);
  EXPECT_EQ(Run({"rm", "again"})["deleted"].size(), 1u);
}

}  // namespace
}  // namespace wdelta::testing
