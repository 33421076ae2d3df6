// `wdelta pull --have` with the real binaries.
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/daemon.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

class DeltaPullE2eTest : public ::testing::Test {
 protected:
  // base <- m1 <- m2 <- m3.
  void SetUp() override {
    std::vector<TestTensor> tensors = {RandomWeights("a", {700, 512}, 1),
                                       RandomWeights("b", {300, 512}, 2)};
    for (int i = 0; i <= 3; ++i) {
      const std::string name = i == 0 ? "base" : absl::StrCat("m", i);
      const std::string parent = i == 1 ? "base" : absl::StrCat("m", i - 1);
      folder_.Write(absl::StrCat(name, "/model.safetensors"), BuildSafetensors(tensors));
      folder_.Write(absl::StrCat(name, "/tokenizer.json"),
                    absl::StrCat(std::string(20'000, 't'), name));
      std::vector<std::string> push = {"push", folder_ / name, "--name", name, "--wait"};
      if (i > 0) push.insert(push.end(), {"--parent", parent});
      daemon_.WdeltaOk(push);
      for (TestTensor& tensor : tensors) tensor = FineTuned(tensor, static_cast<uint32_t>(10 + i));
    }
  }
  void ExpectEqual(const std::string& name, const std::string& pulled) {
    for (const char* file : {"model.safetensors", "tokenizer.json"}) {
      EXPECT_TRUE(folder_.Read(absl::StrCat(name, "/", file)) ==
                  folder_.Read(absl::StrCat(pulled, "/", file)))
          << file;
    }
    size_t entries = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator(folder_ / pulled)) {
      ++entries;
    }
    EXPECT_EQ(entries, 2u) << "something was left";
  }

  const TempFolder folder_;
  const Daemon daemon_{folder_ / "data"};
};

TEST_F(DeltaPullE2eTest, WhoHasTheBaseFetchesHalfAtMost) {
  daemon_.WdeltaOk({"pull", "base", folder_ / "have"});
  for (const char* model : {"m1", "m2", "m3"}) {
    const std::string out = absl::StrCat("out-", model);
    const Json pulled = Json::parse(daemon_.WdeltaOk({"pull", model, folder_ / out, "--have",
                                                      absl::StrCat("base=", folder_ / "have"),
                                                      "--only-delta", "--output", "json"}));
    EXPECT_EQ(pulled["applied_count"], 2);
    EXPECT_LT(pulled["received_bytes"].get<double>(), 0.5 * pulled["total_bytes"].get<double>())
        << model;
    ExpectEqual(model, out);
  }
  ExpectEqual("base", "have");
  // The nearer one of two, and what the last line says.
  EXPECT_THAT(daemon_.WdeltaOk({"pull", "m3", folder_ / "near", "--have",
                                absl::StrCat("base=", folder_ / "have"), "--have",
                                absl::StrCat("m2=", folder_ / "out-m2")}),
              HasSubstr(" over the wire of 1019.7 KiB in "));
  ExpectEqual("m3", "near");
}

TEST_F(DeltaPullE2eTest, OnlyDeltaFetchesNoFile) {
  daemon_.WdeltaOk({"pull", "m1", folder_ / "have"});
  folder_.Write("out/model.safetensors", folder_.Read("base/model.safetensors"));
  const Json pulled = Json::parse(daemon_.WdeltaOk({"pull", "base", folder_ / "out", "--have",
                                                    absl::StrCat("m1=", folder_ / "have"),
                                                    "--only-delta", "--output", "json"}));
  EXPECT_EQ(pulled["unchanged_count"], 1);
  EXPECT_EQ(pulled["applied_count"], 1);
  EXPECT_EQ(pulled["file_count"], 2);
  ExpectEqual("base", "out");
}

TEST_F(DeltaPullE2eTest, WhatIsOfNoUseIsSaid) {
  std::string changed = folder_.Read("base/model.safetensors");
  changed[changed.size() - 5] ^= 4;
  folder_.Write("have/model.safetensors", changed);
  folder_.Write("have/tokenizer.json", folder_.Read("base/tokenizer.json"));
  const std::string have = absl::StrCat("base=", folder_ / "have");
  const CommandResult refused =
      daemon_.Wdelta({"pull", "m2", folder_ / "out", "--have", have, "--only-delta"});
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.err, HasSubstr(folder_ / "have/model.safetensors"));
  EXPECT_THAT(refused.err, HasSubstr("HELD_CHANGED"));
  const CommandResult fetched = daemon_.Wdelta({"pull", "m2", folder_ / "out", "--have", have});
  EXPECT_EQ(fetched.exit_code, 0) << fetched.err;
  EXPECT_THAT(fetched.err, HasSubstr("all was fetched"));
  EXPECT_THAT(fetched.err, HasSubstr(folder_ / "have/model.safetensors"));
  EXPECT_THAT(fetched.out, Not(HasSubstr("over the wire")));
  ExpectEqual("m2", "out");
  const CommandResult malformed = daemon_.Wdelta({"pull", "m2", folder_ / "x", "--have", "base"});
  EXPECT_NE(malformed.exit_code, 0);
  EXPECT_THAT(malformed.err, HasSubstr("--have: expected MODEL=FOLDER"));
}

}  // namespace
}  // namespace wdelta::testing
