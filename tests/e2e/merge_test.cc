// Merging models of tests/data with the real binaries.
#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "storage/tensor/element_values.h"
#include "storage/tensor/safetensors.h"
#include "tests/e2e/daemon.h"
#include "tests/support/merge_reference.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {
namespace {

using store::v1::MergeRecipe;
using ::testing::HasSubstr;
using Json = nlohmann::json;

std::string ReadWhole(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream bytes;
  bytes << in.rdbuf();
  EXPECT_FALSE(bytes.str().empty()) << path;
  return bytes.str();
}

std::string WeightsFile(const std::string& name) {
  return ReadWhole(std::string(WDELTA_TEST_DATA_DIR) + "/" + name + "/model.safetensors");
}

std::map<std::string, TensorInfo> TensorsOf(const std::string& file) {
  constexpr size_t kLengthBytes = 8;
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), kLengthBytes);
  const auto layout = ParseSafetensorsHeader(
      absl::string_view(file).substr(kLengthBytes, header_bytes), file.size());
  EXPECT_TRUE(layout.ok()) << layout.status();
  std::map<std::string, TensorInfo> tensors;
  for (const TensorInfo& tensor : layout->tensors) tensors[tensor.name] = tensor;
  return tensors;
}

// The first file with every tensor merged, as the reference merges whole tensors.
std::string MergeFiles(const MergeRecipe& recipe, const std::vector<std::string>& files) {
  std::vector<std::map<std::string, TensorInfo>> tensors;
  for (const std::string& file : files) tensors.push_back(TensorsOf(file));
  std::string merged = files[0];
  for (const auto& [name, first] : tensors[0]) {
    std::vector<Vector> models;
    for (size_t m = 0; m < files.size(); ++m) {
      const TensorInfo& tensor = tensors[m].at(name);
      Vector& numbers = models.emplace_back(tensor.size_bytes / BytesPerNumber(tensor.dtype));
      EXPECT_TRUE(
          ReadNumbers(tensor.dtype,
                      absl::string_view(files[m]).substr(tensor.offset_bytes, tensor.size_bytes),
                      absl::MakeSpan(numbers))
              .ok());
    }
    merged.replace(first.offset_bytes, first.size_bytes,
                   WriteNumbers(first.dtype, ReferenceMerge(recipe, models)).value());
  }
  return merged;
}

class MergeE2eTest : public ::testing::Test {
 protected:
  void PushAll(const Daemon& daemon, const std::vector<std::string>& names) const {
    for (const std::string& name : names) {
      std::vector<std::string> arguments = {"push", std::string(WDELTA_TEST_DATA_DIR) + "/" + name,
                                            "--name", name, "--wait"};
      if (name != "base") arguments.insert(arguments.end(), {"--parent", "base"});
      daemon.WdeltaOk(arguments);
    }
  }

  const TempFolder folder_;
};

TEST_F(MergeE2eTest, EveryMethodIsThatOfTheReference) {
  const Daemon daemon(folder_ / "data");
  PushAll(daemon, {"base", "ft-kjv", "ft-perl"});
  MergeRecipe recipe;
  recipe.add_sources()->set_weight(0.25);
  recipe.add_sources()->set_weight(0.75);
  recipe.set_scale(0.9);
  recipe.set_density(0.3);
  const std::map<std::string, std::vector<std::string>> flags = {
      {"linear", {}},
      {"task-arithmetic", {"--base", "base", "--lambda", "0.9"}},
      {"ties", {"--base", "base", "--lambda", "0.9", "--density", "0.3"}}};
  for (const auto& [method, more] : flags) {
    std::vector<std::string> arguments = {"merge",     "ft-kjv",   "ft-perl", "--name",
                                          method,      "--method", method,    "--weights",
                                          "0.25,0.75", "--label",  "by=test", "--wait"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    EXPECT_THAT(daemon.WdeltaOk(arguments), HasSubstr("ready")) << method;
    std::vector<std::string> files = {WeightsFile("ft-kjv"), WeightsFile("ft-perl")};
    recipe.set_method(MergeRecipe::LINEAR);
    if (method != "linear") {
      files.insert(files.begin(), WeightsFile("base"));
      recipe.set_method(method == "ties" ? MergeRecipe::TIES : MergeRecipe::TASK_ARITHMETIC);
    }
    const std::string out = folder_ / ("out-" + method);
    daemon.WdeltaOk({"pull", method, out});
    EXPECT_TRUE(ReadWhole(out + "/model.safetensors") == MergeFiles(recipe, files)) << method;
    EXPECT_TRUE(std::filesystem::exists(out + "/config.json"));
  }
  const Json ties = Json::parse(daemon.WdeltaOk({"show", "ties", "--output", "json"}));
  ASSERT_EQ(ties["parents"].size(), 3u);
  EXPECT_EQ(ties["parents"][0]["name"], "base");
  EXPECT_EQ(ties["parents"][2]["relation"], "merge");
  EXPECT_EQ(ties["parents"][2]["metadata"]["weight"], "0.75");
  EXPECT_EQ(ties["metadata"]["merge.density"], "0.3");
  EXPECT_EQ(ties["labels"]["by"], "test");
  EXPECT_THAT(daemon.WdeltaOk({"log", "ties"}), HasSubstr("ft-perl"));
}

TEST_F(MergeE2eTest, WrongRequestsAreToldApart) {
  const Daemon daemon(folder_ / "data");
  PushAll(daemon, {"base", "ft-kjv", "ft-grown-vocab"});
  const auto expect = [&](const std::vector<std::string>& arguments, int exit_code,
                          const std::string& text) {
    std::vector<std::string> all = {"merge", "--name", "m"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    const CommandResult result = daemon.Wdelta(all);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_THAT(result.err, HasSubstr(text));
  };
  expect({"ft-kjv", "ft-grown-vocab"}, 9, "model 'ft-grown-vocab': tensor '");
  expect({"ft-kjv", "nobody"}, 3, "MODEL_NOT_FOUND");
  expect({"ft-kjv"}, 5, "sources of a linear merge: expected 2 to 16, found 1");
  expect({"base", "ft-kjv", "--weights", "1"}, 5, "--weights: expected 2");
  expect({"base", "ft-kjv", "--density", "0.1"}, 5, "--density");
  expect({"base", "ft-kjv", "--method", "ties"}, 5, "base of a ties merge: expected a model");
  expect({"base", "ft-kjv", "--method", "slerp"}, 2, "slerp");
  EXPECT_THAT(daemon.WdeltaOk({"ls"}), ::testing::Not(HasSubstr("importing")));
}

TEST_F(MergeE2eTest, GoesOnAfterTheDaemonWasKilled) {
  {
    Daemon daemon(folder_ / "data");
    PushAll(daemon, {"base", "ft-kjv", "ft-perl"});
    ASSERT_EQ(daemon.Stop(), 0);
  }
  {
    // Dies with the first bytes of the merged model stored, and it not READY.
    setenv("WDELTA_FAILPOINTS", "blob.put.after:1", 1);
    Daemon daemon(folder_ / "data", {"--gc_interval=off"});
    unsetenv("WDELTA_FAILPOINTS");
    // The answer may come too late.
    daemon.Wdelta({"merge", "ft-kjv", "ft-perl", "--name", "soup"});
    ASSERT_EQ(daemon.process().Wait(), 128 + SIGKILL) << daemon.process().output();
  }
  const Daemon daemon(folder_ / "data");
  const Json jobs = Json::parse(daemon.WdeltaOk({"jobs", "--output", "json"}));
  const auto merge = std::find_if(jobs.begin(), jobs.end(),
                                  [](const Json& job) { return job["kind"] == "merge"; });
  ASSERT_NE(merge, jobs.end());
  const std::string id = (*merge)["id"];
  const Json ended = Json::parse(daemon.WdeltaOk({"jobs", id, "--watch", "--output", "json"}));
  EXPECT_EQ(ended["state"], "succeeded");
  EXPECT_GE(ended["attempts"], 2) << "it had not begun when the daemon was killed";
  EXPECT_THAT(daemon.WdeltaOk({"show", "soup"}), HasSubstr("ready"));
  daemon.WdeltaOk({"pull", "soup", folder_ / "out"});
  MergeRecipe recipe;
  recipe.set_method(MergeRecipe::LINEAR);
  recipe.add_sources()->set_weight(1);
  recipe.add_sources()->set_weight(1);
  EXPECT_TRUE(ReadWhole(folder_ / "out/model.safetensors") ==
              MergeFiles(recipe, {WeightsFile("ft-kjv"), WeightsFile("ft-perl")}));
}

}  // namespace
}  // namespace wdelta::testing
