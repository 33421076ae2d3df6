// Questions about the lineage and about tags, asked with the real binaries.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/daemon.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Json = nlohmann::json;

// base <- a, b; soup <- a, b; other.
class LineageTest : public ::testing::Test {
 protected:
  LineageTest() {
    Push("base", 0, {});
    Push("a", 1, {"--parent", "base:distillation,temperature=2,data=wiki", "--label", "team=nlp"});
    Push("b", 2, {"--parent", "base:continued", "--label", "team=nlp"});
    Push("soup", 3, {"--parent", "a:merge,weight=0.5", "--parent", "b:merge,weight=0.5"});
    Push("other", 4, {"--label", "team=vision"});
  }
  void Push(const std::string& name, uint32_t seed, const std::vector<std::string>& more) const {
    for (const auto& [path, bytes] : SmallCheckpoint(1, seed)) {
      folder_.Write(name + "/" + path, bytes);
    }
    std::vector<std::string> arguments = {"push", folder_ / name, "--name", name, "--wait"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    daemon_.WdeltaOk(arguments);
  }
  Json RunJson(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"--output", "json"});
    const Json json = Json::parse(daemon_.WdeltaOk(arguments), nullptr, false);
    EXPECT_FALSE(json.is_discarded()) << arguments[0];
    return json;
  }
  // Of a list of models, or of what holds a model in `model` or `node`.
  std::vector<std::string> Names(const std::vector<std::string>& arguments) const {
    std::vector<std::string> names;
    for (const Json& item : RunJson(arguments)) {
      const Json& node = item.contains("node") ? item["node"] : item;
      names.push_back(node.contains("model") ? node["model"]["name"] : node["name"]);
    }
    return names;
  }
  std::string FailsWith(const std::vector<std::string>& arguments, int exit_code) const {
    const CommandResult result = daemon_.Wdelta(arguments);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    return result.err;
  }

  const TempFolder folder_;
  const Daemon daemon_{folder_ / "data"};
};

TEST_F(LineageTest, ParentsKeepRelationAndMetadata) {
  const Json a = RunJson({"show", "a"})["parents"][0];
  EXPECT_EQ(a["relation"], "distillation");
  EXPECT_EQ(a["metadata"], (Json{{"temperature", "2"}, {"data", "wiki"}}));
  EXPECT_EQ(RunJson({"show", "b"})["parents"][0]["relation"], "continued");
  EXPECT_EQ(RunJson({"show", "soup"})["parents"][1]["metadata"]["weight"], "0.5");
  EXPECT_THAT(daemon_.WdeltaOk({"show", "a"}), HasSubstr("temperature=2"));
  EXPECT_THAT(FailsWith({"push", folder_ / "a", "--name", "x", "--parent", "base:cousin"}, 5),
              HasSubstr("relation `cousin`"));
  EXPECT_THAT(FailsWith({"push", folder_ / "a", "--name", "x", "--parent", "nobody:merge"}, 3),
              HasSubstr("MODEL_NOT_FOUND"));
}

TEST_F(LineageTest, Lists) {
  EXPECT_THAT(Names({"log", "--roots"}), ElementsAre("base", "other"));
  EXPECT_THAT(Names({"log", "--leaves"}), ElementsAre("soup", "other"));
  EXPECT_THAT(Names({"log", "--children", "base"}), ElementsAre("a", "b"));
  EXPECT_THAT(Names({"log", "--common", "a", "b"}), ElementsAre("base"));
  EXPECT_THAT(Names({"log", "--common", "soup", "other"}), IsEmpty());
  EXPECT_THAT(Names({"log", "soup", "--ancestors", "--depth", "1"}), ElementsAre("soup", "a", "b"));
  EXPECT_THAT(Names({"log", "base", "--descendants"}), ElementsAre("base", "a", "b", "soup"));
  EXPECT_THAT(daemon_.WdeltaOk({"log", "--children", "base"}), HasSubstr("PARENTS"));
  EXPECT_THAT(daemon_.WdeltaOk({"log", "--common", "a", "b"}), HasSubstr("EDGES FROM b"));
  EXPECT_THAT(FailsWith({"log", "--roots", "--leaves"}, 2), HasSubstr("excludes"));
  EXPECT_THAT(FailsWith({"log", "--children", "nobody"}, 3), HasSubstr("MODEL_NOT_FOUND"));
}

TEST_F(LineageTest, DrawingsAndExports) {
  daemon_.WdeltaOk({"tag", "soup@prod", "soup"});
  EXPECT_THAT(daemon_.WdeltaOk({"log", "--ascii"}),
              AllOf(HasSubstr("* base"), HasSubstr("+-"), HasSubstr("[soup@prod]")));
  EXPECT_THAT(daemon_.WdeltaOk({"log", "soup", "--format", "dot"}),
              AllOf(HasSubstr("digraph"), HasSubstr("m1 -> m0"), HasSubstr("distillation"),
                    Not(HasSubstr("other"))));
  EXPECT_THAT(daemon_.WdeltaOk({"log", "--format", "mermaid"}),
              AllOf(HasSubstr("flowchart TD"), HasSubstr("-->|continued|")));
  EXPECT_EQ(Json::parse(daemon_.WdeltaOk({"log", "--format", "json"}), nullptr, false).size(), 5u);
  // A deleted model stays in the drawing for as long as others come from it.
  daemon_.WdeltaOk({"rm", "a"});
  EXPECT_THAT(daemon_.WdeltaOk({"log", "--ascii"}), HasSubstr("(deleted)"));
  daemon_.WdeltaOk({"rm", "soup"});
  EXPECT_THAT(daemon_.WdeltaOk({"log", "--ascii"}), Not(HasSubstr("(deleted)")));
}

TEST_F(LineageTest, Paths) {
  EXPECT_THAT(Names({"path", "soup", "base"}), ElementsAre("soup", "a", "base"));
  const Json path = RunJson({"path", "a", "b"});
  ASSERT_EQ(path.size(), 3u);
  EXPECT_EQ(path[1]["hop"], "to_parent");
  EXPECT_EQ(path[1]["edge"]["relation"], "distillation");
  EXPECT_EQ(path[2]["hop"], "to_child");
  EXPECT_THAT(daemon_.WdeltaOk({"path", "base", "soup"}), HasSubstr("child"));
  EXPECT_THAT(FailsWith({"path", "a", "b", "--edges", "ancestry"}, 3), HasSubstr("NO_PATH"));
  EXPECT_THAT(FailsWith({"path", "a", "other"}, 3), HasSubstr("NO_PATH"));
  FailsWith({"path", "a", "b", "--edges", "some"}, 2);
}

TEST_F(LineageTest, Search) {
  EXPECT_THAT(Names({"search"}), ElementsAre("base", "a", "b", "soup", "other"));
  EXPECT_THAT(Names({"search", "?", "--label", "team=nlp"}), ElementsAre("a", "b"));
  EXPECT_THAT(Names({"search", "--limit", "2"}), ElementsAre("base", "a"));
  EXPECT_THAT(Names({"search", "--state", "staged", "--state", "failed"}), IsEmpty());
  EXPECT_THAT(Names({"search", "--state", "ready", "--since", "1h", "s*"}), ElementsAre("soup"));
  EXPECT_THAT(Names({"search", "--until", "1h"}), IsEmpty());
  EXPECT_THAT(Names({"search", "--min-size", "1TB"}), IsEmpty());
  EXPECT_THAT(Names({"search", "--max-size", "1TiB", "--min-stored", "1", "o*"}),
              ElementsAre("other"));
  EXPECT_THAT(Names({"search", "--max-stored", "0"}), IsEmpty());
  EXPECT_THAT(daemon_.WdeltaOk({"search", "soup"}), HasSubstr("a,b"));
  EXPECT_THAT(FailsWith({"search", "--since", "yesterday"}, 5), HasSubstr("expected 2026-01-31"));
  EXPECT_THAT(FailsWith({"search", "--min-size", "big"}, 5), HasSubstr("size `big`"));
  EXPECT_THAT(FailsWith({"search", "--state", "gone"}, 5), HasSubstr("state `gone`"));
  EXPECT_THAT(FailsWith({"search", "--min-size", "2", "--max-size", "1"}, 5),
              HasSubstr("BAD_RANGE"));
}

TEST_F(LineageTest, TagHistory) {
  daemon_.WdeltaOk({"tag", "m@prod", "a", "--author", "ann@ci"});
  daemon_.WdeltaOk({"tag", "m@prod", "b", "--author", ""});
  daemon_.WdeltaOk({"rm", "b"});
  const Json history = RunJson({"tag", "--history", "m@prod"});
  ASSERT_EQ(history.size(), 3u);
  EXPECT_EQ(history[0]["reason"], "model_deleted");
  EXPECT_EQ(history[0]["to_model"], "");
  EXPECT_EQ(history[1]["from_name"], "a");
  EXPECT_EQ(history[1]["to_name"], "b");
  EXPECT_EQ(history[2]["from_model"], "");
  EXPECT_THAT(history[0]["author"].get<std::string>(), HasSubstr("@")) << "user@host";
  EXPECT_THAT(history[1]["author"].get<std::string>(), HasSubstr("ip")) << "an address";
  EXPECT_EQ(history[2]["author"], "ann@ci");
  EXPECT_THAT(daemon_.WdeltaOk({"tag", "--history", "m@prod"}),
              AllOf(HasSubstr("REASON"), HasSubstr("model_deleted"), HasSubstr("ann@ci"),
                    ContainsRegex("[0-9]:[0-5][0-9]:[0-5][0-9]  ")));
  EXPECT_THAT(FailsWith({"tag", "m@prod", "a", "--author", " x"}, 5), HasSubstr("BAD_AUTHOR"));
  EXPECT_THAT(FailsWith({"tag", "--history", "m@never"}, 3), HasSubstr("TAG_NOT_FOUND"));
}

}  // namespace
}  // namespace wdelta::testing
