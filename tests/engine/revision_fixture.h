// Models of which new versions are made.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/engine/gc_fixture.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta::testing {

inline constexpr char kWeights[] = "model.safetensors";

class BytesInMemory final : public RandomAccessFile {
 public:
  // Counts itself in `open` while it lives.
  BytesInMemory(std::string bytes, int* open) : bytes_(std::move(bytes)), open_(*open) { ++open_; }
  ~BytesInMemory() override { --open_; }
  BytesInMemory(const BytesInMemory&) = delete;
  BytesInMemory& operator=(const BytesInMemory&) = delete;
  absl::Status Read(uint64_t offset, char* destination, size_t size) const override {
    std::memcpy(destination, bytes_.data() + offset, size);
    return absl::OkStatus();
  }
  absl::StatusOr<uint64_t> SizeBytes() const override { return bytes_.size(); }

 private:
  const std::string bytes_;
  int& open_;
};

// `base`, and `tuned`, which is stored against it.
class RevisionTest : public GcFixture {
 protected:
  RevisionTest() {
    const TestTensor weights = RandomWeights("w", {1024, 1024}, 1);
    const TestTensor bias = RandomWeights("b", {512}, 2);
    base_ = {{kWeights, BuildSafetensors({weights, bias})}, {"config.json", "{}\n"}};
    tuned_ = {{kWeights, BuildSafetensors({FineTuned(weights, 3), FineTuned(bias, 4)})},
              {"config.json", "{\"a\": 1}\n"}};
    UploadReady("base", base_);
    UploadReady("tuned", tuned_, {"base"});
    EXPECT_EQ(RecordOf("tuned").storage_parent_id(), ids_["base"]);
  }

  // As a new version of the model, with what it has of these files taken from it.
  absl::StatusOr<Model> Revise(const std::string& model, const Files& files,
                               std::function<absl::Status()> check = nullptr) {
    const store::v1::ModelRecord before = RecordOf(model);
    RevisionParams params;
    params.model_id = before.id();
    params.parents.push_back({"id:" + before.id(), {}, {}});
    params.labels = {{"team", "a"}};
    params.check = std::move(check);
    for (const auto& [path, bytes] : files) {
      RevisedFile& file = params.files.emplace_back();
      file.path = path;
      file.sha256 = Digest::Of(bytes);
      file.size_bytes = bytes.size();
      for (int i = 0; i < before.files_size(); ++i) {
        if (before.files(i).sha256() == file.sha256.ToBytes()) file.kept = i;
      }
      if (file.kept.has_value()) continue;
      file.open_content = [this, content = bytes] {
        auto opened = std::make_shared<const BytesInMemory>(content, &open_files_);
        max_open_files_ = std::max(max_open_files_, open_files_);
        return absl::StatusOr<std::shared_ptr<const RandomAccessFile>>(std::move(opened));
      };
    }
    return store_->revisions().Make(params);
  }
  Files WithCard(Files files, const std::string& card = "# a card\n") const {
    files["README.md"] = card;
    return files;
  }
  void DeleteById(const std::string& id) {
    ASSERT_TRUE(store_->models().Delete("id:" + id).ok());
    TryJobs().IgnoreError();
  }

  Files base_, tuned_;
  // Of new side files.
  int open_files_ = 0;
  int max_open_files_ = 0;
};

}  // namespace wdelta::testing
