// Pushing what the daemon has in part, with the real binaries.
#include <fstream>
#include <iterator>
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

std::string ReadFile(const std::string& name) {
  std::ifstream file(name, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

class ReuseTest : public ::testing::Test {
 protected:
  // Twenty tensors of 64 KiB; the last `changed` of them have values of their own.
  static std::string Weights(uint32_t changed) {
    std::vector<TestTensor> tensors;
    for (uint32_t i = 0; i < 20; ++i) {
      const uint32_t seed = i >= 20 - changed ? 1000 + changed * 20 + i : 1 + i;
      tensors.push_back(RandomWeights("layer." + std::to_string(100 + i), {128, 256}, seed));
    }
    return BuildSafetensors(tensors);
  }
  Json Push(const TempFolder& folder, std::vector<std::string> arguments) const {
    std::vector<std::string> all = {"push", folder.path(), "--wait", "--output", "json"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return Json::parse(daemon_.WdeltaOk(all), nullptr, false);
  }

  const TempFolder folder_;
  const Daemon daemon_{folder_ / "data"};
};

TEST_F(ReuseTest, ATenthOfTheTensorsIsATenthOfTheBytes) {
  const TempFolder base, tuned, apart, copy;
  base.Write("model.safetensors", Weights(0));
  base.Write("tokenizer.json", std::string(50'000, 't'));
  tuned.Write("model.safetensors", Weights(2));
  tuned.Write("tokenizer.json", std::string(50'000, 't'));
  apart.Write("model.safetensors", Weights(20));
  EXPECT_EQ(Push(base, {"--name", "base"})["reused_bytes"], 0);

  const Json sent = Push(tuned, {"--name", "tuned", "--parent", "base"});
  const uint64_t total_bytes = sent["total_bytes"];
  EXPECT_LE(sent["sent_bytes"].get<uint64_t>(), total_bytes / 10 + 4096);
  EXPECT_EQ(sent["sent_bytes"].get<uint64_t>() + sent["reused_bytes"].get<uint64_t>(), total_bytes);

  const Json all = Push(tuned, {"--name", "again", "--reuse", "never"});
  EXPECT_EQ(all["sent_bytes"], total_bytes);
  EXPECT_EQ(all["model"]["digest"], sent["model"]["digest"]);
  EXPECT_EQ(all["model"]["storage"]["delta_digest"], sent["model"]["storage"]["delta_digest"]);

  EXPECT_EQ(Push(apart, {"--name", "apart", "--reuse", "always"})["reused_bytes"], 0);

  daemon_.WdeltaOk({"pull", "tuned", copy / "tuned"});
  EXPECT_EQ(ReadFile(copy / "tuned/model.safetensors"), Weights(2));
  EXPECT_THAT(daemon_.WdeltaOk({"push", tuned.path(), "--name", "third", "--wait"}),
              HasSubstr("the rest was there"));
  const CommandResult wrong = daemon_.Wdelta({"push", tuned.path(), "--name", "x", "--reuse", "y"});
  EXPECT_NE(wrong.exit_code, 0);
  EXPECT_THAT(wrong.err, HasSubstr("--reuse"));
}

}  // namespace
}  // namespace wdelta::testing
