// `wdelta fetch` with the real binaries.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "storage/base/file_system.h"
#include "storage/tensor/safetensors.h"
#include "tests/e2e/daemon.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

class FetchTest : public ::testing::Test {
 protected:
  FetchTest() : daemon_(folder_ / "data") {
    std::vector<TestTensor> tuned;
    for (const TestTensor& tensor : base_) tuned.push_back(FineTuned(tensor, 5));
    tuned_ = std::move(tuned);
    folder_.Write("base/model.safetensors", BuildSafetensors(base_));
    folder_.Write("tuned/model.safetensors", BuildSafetensors(tuned_));
    daemon_.WdeltaOk({"push", folder_ / "base", "--name", "base", "--wait"});
    daemon_.WdeltaOk({"push", folder_ / "tuned", "--name", "tuned", "--parent", "base", "--wait"});
  }

  // Rows of bytes [begin, end) of each row of `row_bytes`.
  static std::string Columns(const std::string& data, size_t row_bytes, size_t begin, size_t end) {
    std::string columns;
    for (size_t row = 0; row < data.size(); row += row_bytes) {
      columns += data.substr(row + begin, end - begin);
    }
    return columns;
  }
  std::string Fetch(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"fetch", "tuned", "--out", folder_ / "out.safetensors"});
    return daemon_.WdeltaOk(arguments);
  }
  SafetensorsLayout Layout() const {
    const auto files = NewPosixFileSystem();
    const auto file = files->OpenForRead(folder_ / "out.safetensors");
    const absl::StatusOr<SafetensorsLayout> layout = ReadSafetensorsLayout(**file);
    EXPECT_TRUE(layout.ok()) << layout.status();
    return layout.value_or(SafetensorsLayout());
  }
  std::string Data() const { return folder_.Read("out.safetensors").substr(Layout().header_bytes); }

  const TempFolder folder_;
  const Daemon daemon_;
  const std::vector<TestTensor> base_ = {RandomWeights("l0.down", {64, 6000}, 1),
                                         RandomWeights("l0.up", {600, 512}, 2),
                                         RandomWeights("norm", {64}, 3)};
  std::vector<TestTensor> tuned_;
};

TEST_F(FetchTest, WritesSafetensorsOfWhatWasAskedFor) {
  Fetch({});
  EXPECT_TRUE(Data() == tuned_[0].data + tuned_[1].data + tuned_[2].data);
  EXPECT_THAT(Fetch({"--tensor", "l0.*", "--shard", "*down:1=1/3", "--shard", "0=1/2"}),
              HasSubstr("2 tensors of tuned, 2 of them in part"));
  const SafetensorsLayout layout = Layout();
  ASSERT_EQ(layout.tensors.size(), 2u);
  EXPECT_THAT(layout.tensors[0].shape, ElementsAre(64u, 2000u));
  EXPECT_THAT(layout.tensors[1].shape, ElementsAre(300u, 512u));
  EXPECT_TRUE(Data() == Columns(tuned_[0].data, 12'000, 4'000, 8'000) +
                            tuned_[1].data.substr(tuned_[1].data.size() / 2));
  const Json json = Json::parse(Fetch({"--tensor", "norm", "--slice", "0=60:", "--output", "json"}),
                                nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["model"]["name"], "tuned");
  EXPECT_EQ(json["tensors"].size(), 1u);
  EXPECT_EQ(json["tensors"][0]["shape"], Json({4}));
  EXPECT_EQ(json["tensors"][0]["slice"]["start"], 60);
  EXPECT_TRUE(Data() == tuned_[2].data.substr(120));
  // Written again by the next push: a valid checkpoint.
  folder_.Write("again/model.safetensors", folder_.Read("out.safetensors"));
  daemon_.WdeltaOk({"push", folder_ / "again", "--name", "again", "--wait"});
}

TEST_F(FetchTest, APartOfNothingIsToldOf) {
  const auto fetch = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"fetch", "tuned", "--out", folder_ / "out.safetensors"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const CommandResult result = daemon_.Wdelta(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.err;
  };
  EXPECT_EQ(fetch({"--slice", "0=0:8", "--shard", "*.up:1=0/2"}), "");
  EXPECT_EQ(fetch({"--slice", "7=0:8", "--slice", "0=0:8", "--shard", "*.upp:1=0/2"}),
            "wdelta: fetch: `7=0:8` is for none of the tensors, and changed nothing\n"
            "wdelta: fetch: `*.upp:1=0/2` is for none of the tensors, and changed nothing\n");
}

TEST_F(FetchTest, ErrorsSayWhatIsWrongAndLeaveNoFile) {
  const auto expect = [&](std::vector<std::string> arguments, int exit_code,
                          const std::string& words) {
    arguments.insert(arguments.begin(), {"fetch", "tuned", "--out", folder_ / "none/x"});
    const CommandResult result = daemon_.Wdelta(arguments);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_THAT(result.err, HasSubstr(words));
    EXPECT_FALSE(folder_.Has("none"));
  };
  expect({"--tensor", "nothing"}, 3, "has no tensor that matches `nothing`");
  expect({"--slice", "0=1"}, 5, "expected [PATTERN:]AXIS=START:STOP, found `0=1`");
  expect({"--shard", "1=2/2"}, 5, "expected an I below N");
  expect({"--shard", "0=0/7"}, 5, "tensor 'l0.down': axis 0: expected a multiple of 7 positions");
  expect({"--slice", "norm:0=0:65"}, 5, "tensor 'norm': axis 0 has 64 positions");
  expect({"--slice", "norm:1=0:1"}, 5, "tensor 'norm': expected an axis below 1, found 1");
  const CommandResult missing = daemon_.Wdelta({"fetch", "missing", "--out", folder_ / "none/x"});
  EXPECT_EQ(missing.exit_code, 3) << missing.err;
  EXPECT_THAT(daemon_.WdeltaOk({"fetch", "--help"}), HasSubstr("--shard '*.o_proj.weight:1=2/4'"));
}

}  // namespace
}  // namespace wdelta::testing
