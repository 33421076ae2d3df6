// Pulls of a model of three files from a server with faults.
#pragma once

#include <memory>
#include <string>

#include "client/cpp/pull.h"
#include "gtest/gtest.h"
#include "storage/base/digest.h"
#include "storage/base/error.h"
#include "tests/client/fake_server.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {

class PullTest : public ::testing::Test {
 protected:
  PullTest() : client_(server_.NewClient()) {
    for (int i = 0; i < 950; ++i) content_ += static_cast<char>(i * 17);
    server_.AddModel("m", {{"config.json", "{}"}, {"empty", ""}, {"sub/w.safetensors", content_}});
  }

  absl::Status Pull(const PullOptions& options = {}) {
    return PullModel(*client_, "m", folder_ / "out", options).status();
  }
  // No file but those before the broken one, and no partial one.
  void ExpectLossAndNoFile(const absl::Status& status, const std::string& reason) {
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_EQ(ErrorReason(status), reason) << status;
    EXPECT_FALSE(folder_.Has("out/sub/w.safetensors"));
    EXPECT_FALSE(folder_.Has("out/sub/" + PartName()));
  }
  std::string PartName() const {
    return ".w.safetensors." + Digest::Of(content_).ToHex().substr(0, 16) + ".wdelta-part";
  }

  FakeServer server_;
  std::unique_ptr<Client> client_;
  TempFolder folder_;
  std::string content_;
};

}  // namespace wdelta::testing
