// A stored base that is held, and what pulls of models made from it are expected to leave.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "client/cpp/pull.h"
#include "gtest/gtest.h"
#include "tests/client/breaking_proxy.h"
#include "tests/server/test_server.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {

class DeltaPullTest : public ::testing::Test {
 protected:
  DeltaPullTest() : base_{RandomWeights("a", {400, 512}, 1), RandomWeights("b", {256, 512}, 2)} {
    Push("base", base_, "{}");
    Hold("base", folder_ / "held");
  }

  void Push(const std::string& name, const std::vector<TestTensor>& tensors,
            const std::string& config, const std::string& parent = "") {
    const std::vector<std::string> parents =
        parent.empty() ? std::vector<std::string>() : std::vector<std::string>{parent};
    PushFiles(name, {{"config.json", config}, {"sub/model.safetensors", BuildSafetensors(tensors)}},
              parents);
  }
  void PushFiles(const std::string& name, const TestFiles& files,
                 const std::vector<std::string>& parents = {}) {
    files_[name] = files;
    server_.Push(name, files, parents);
    server_.RunJobs();
  }
  void Hold(const std::string& name, const std::string& folder) {
    for (const auto& [path, data] : files_[name]) {
      const std::filesystem::path file = std::filesystem::path(folder) / path;
      std::filesystem::create_directories(file.parent_path());
      std::ofstream(file, std::ios::binary) << data;
    }
  }
  // Each moves a tensor of its own, so that both stored deltas are sent.
  void PushDisjointChain() {
    std::vector<TestTensor> tensors = base_;
    tensors[0] = FineTuned(tensors[0], 5);
    Push("d1", tensors, "{\"d\": 1}", "base");
    tensors[1] = FineTuned(tensors[1], 6);
    Push("d2", tensors, "{\"d\": 2}", "d1");
  }
  void PushTuned() {
    Push("tuned", {FineTuned(base_[0], 7), FineTuned(base_[1], 8)}, "{\"t\": 1}", "base");
  }

  PullOptions HoldingBase() {
    PullOptions options;
    options.held = {{"base", folder_ / "held"}};
    options.initial_backoff = absl::ZeroDuration();
    return options;
  }
  absl::StatusOr<PullResult> Pull(const std::string& model, const PullOptions& options) {
    return PullModel(proxy_.client(), model, folder_ / "out", options);
  }
  void ExpectPulled(const std::string& model) {
    for (const auto& [path, data] : files_[model]) {
      EXPECT_TRUE(folder_.Read("out/" + path) == data) << path;
    }
    size_t entries = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_ / "out")) {
      entries += entry.is_regular_file() ? 1 : 0;
    }
    EXPECT_EQ(entries, files_[model].size()) << "something was left";
  }
  // What a broken pull has of its first delta, below folder_; empty: nothing.
  std::string PartOfDelta() {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_ / "out")) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with(".0.wdelta.")) continue;
      return std::filesystem::relative(entry.path(), folder_.path()).string();
    }
    return "";
  }
  void ExpectHeldUntouched() {
    for (const auto& [path, data] : files_["base"]) {
      EXPECT_TRUE(folder_.Read("held/" + path) == data) << path;
    }
  }
  static uint64_t SizeOf(const TestFiles& files) {
    uint64_t size_bytes = 0;
    for (const auto& [path, data] : files) size_bytes += data.size();
    return size_bytes;
  }

  TestServer server_;
  BreakingProxy proxy_{server_};
  const TempFolder folder_;
  std::vector<TestTensor> base_;
  std::map<std::string, TestFiles> files_;
};

}  // namespace wdelta::testing
