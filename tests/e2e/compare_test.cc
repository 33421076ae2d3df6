// Comparing models of tests/data with the real binaries.
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

using ::testing::HasSubstr;
using Json = nlohmann::json;

class CompareTest : public ::testing::Test {
 protected:
  void Push(const std::string& name, const std::vector<std::string>& parents) const {
    std::vector<std::string> arguments = {"push", std::string(WDELTA_TEST_DATA_DIR) + "/" + name,
                                          "--name", name, "--wait"};
    for (const std::string& parent : parents) {
      arguments.insert(arguments.end(), {"--parent", parent});
    }
    daemon_.WdeltaOk(arguments);
  }
  Json RunJson(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"--output", "json"});
    return Json::parse(daemon_.WdeltaOk(arguments), nullptr, false);
  }

  const TempFolder folder_;
  const Daemon daemon_{folder_ / "data"};
};

TEST_F(CompareTest, Diff) {
  Push("base", {});
  Push("ft-perl", {"base"});
  Push("ft-grown-vocab", {"ft-perl"});
  Push("ft-perl-sharded", {"base"});

  const Json tuned = RunJson({"diff", "base", "ft-perl"});
  ASSERT_FALSE(tuned.is_discarded());
  ASSERT_GT(tuned["tensors"].size(), 5u);
  double before = 1e300;
  for (const Json& tensor : tuned["tensors"]) {
    EXPECT_EQ(tensor["change"], "changed");
    const double norm = tensor["difference"]["relative_norm"];
    EXPECT_GT(norm, 0);
    EXPECT_LE(norm, before);
    before = norm;
  }
  EXPECT_GT(tuned["layers"].size(), 2u);

  // The same tensors in other files.
  const Json sharded = RunJson({"diff", "ft-perl", "ft-perl-sharded"});
  EXPECT_EQ(sharded["tensors"].size(), 0u);
  EXPECT_EQ(sharded["totals"]["tensors"]["changed"], 0);
  EXPECT_EQ(sharded["totals"]["tensors"]["unchanged"], tuned["tensors"].size());

  const Json grown = RunJson({"diff", "ft-perl", "ft-grown-vocab", "--all", "--sort", "name"});
  EXPECT_GE(grown["totals"]["tensors"]["shape_changed"], 1);
  EXPECT_EQ(grown["totals"]["tensors"]["only_in_b"], 1);  // score.weight
  EXPECT_EQ(grown["tensors"].size(), tuned["tensors"].size() + 1);

  EXPECT_THAT(daemon_.WdeltaOk({"diff", "base", "ft-perl", "--layers"}), HasSubstr("LAYER"));
  EXPECT_THAT(daemon_.WdeltaOk({"diff", "base", "base"}), HasSubstr("0 changed"));
  const CommandResult unknown = daemon_.Wdelta({"diff", "base", "nobody"});
  EXPECT_NE(unknown.exit_code, 0);
  EXPECT_THAT(unknown.err, HasSubstr("MODEL_NOT_FOUND"));
}

TEST_F(CompareTest, DiffCountsWhatIsNotFinite) {
  const auto push = [&](const std::string& name, const std::string& numbers) {
    folder_.Write(name + "/model.safetensors",
                  BuildSafetensors({{"w", DType::kF32, {2}, numbers}}));
    daemon_.WdeltaOk({"push", folder_ / name, "--name", name, "--wait"});
  };
  push("sound", std::string("\0\0\x80\x3f\0\0\x80\x3f", 8));
  push("broken", std::string("\0\0\x80\x3f\0\0\xc0\x7f", 8));
  EXPECT_THAT(daemon_.WdeltaOk({"diff", "sound", "broken"}),
              HasSubstr("relative norm of the changed -, max change 0, 50.00% of weights changed, "
                        "1 of them not finite\n"));
}

TEST_F(CompareTest, Blame) {
  Push("base", {});
  Push("ft-perl", {"base"});
  Push("ft-grown-vocab", {"ft-perl"});
  const Json grown = RunJson({"blame", "ft-grown-vocab"});
  ASSERT_FALSE(grown.is_discarded());
  // A larger vocabulary and a new head; all else is as the fine-tune left it.
  size_t own = 0;
  for (const Json& tensor : grown["tensors"]) {
    EXPECT_EQ(tensor["trail_end"], nullptr);
    EXPECT_EQ(tensor["name_there"], tensor["name"]);
    if (tensor["model_name"] == "ft-grown-vocab") {
      ++own;
    } else {
      EXPECT_EQ(tensor["model_name"], "ft-perl") << tensor["name"];
    }
  }
  EXPECT_GE(own, 2u);
  EXPECT_GT(grown["tensors"].size(), 2 * own);
  ASSERT_EQ(grown["models"].size(), 2u);
  EXPECT_EQ(grown["totals"]["tensor_count"], grown["tensors"].size());
  EXPECT_THAT(daemon_.WdeltaOk({"blame", "ft-grown-vocab"}), HasSubstr("score.weight"));
  EXPECT_THAT(daemon_.WdeltaOk({"blame", "ft-grown-vocab", "--by-model"}), HasSubstr("ft-perl"));

  daemon_.WdeltaOk({"rm", "base"});
  EXPECT_THAT(daemon_.WdeltaOk({"blame", "ft-perl"}),
              HasSubstr("or before: its parent base was deleted"));
}

}  // namespace
}  // namespace wdelta::testing
