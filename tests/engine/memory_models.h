// Models in memory whose tensors are encoded against each other.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/base/digest.h"
#include "storage/engine/content/content_source.h"
#include "storage/engine/encoding/delta_encoder.h"
#include "storage/engine/encoding/storage_plan.h"
#include "storage/tensor/safetensors.h"
#include "tests/engine/delta_route_fixture.h"
#include "tests/engine/low_rank_tensors.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta::testing {

// A checkpoint of one file, that is stored nowhere.
class MemorySource final : public ContentSource {
 public:
  explicit MemorySource(const std::vector<TestTensor>& tensors)
      : MemorySource(BuildSafetensors(tensors)) {}
  // A hook; set while nothing is read.
  std::function<void(uint32_t stream)> before_read;

  const Checkpoint& checkpoint() const override { return checkpoint_; }
  absl::Status Read(uint32_t stream, uint64_t offset, size_t size,
                    char* destination) const override {
    if (before_read) before_read(stream);
    const uint64_t begin = checkpoint_.streams[stream].tensor.offset_bytes + offset;
    return file_.Read(begin, destination, size);
  }
  std::optional<Digest> StreamDigest(uint32_t) const override { return std::nullopt; }

 private:
  explicit MemorySource(const std::string& bytes) : file_(bytes) {
    const SafetensorsLayout layout = *ReadSafetensorsLayout(file_);
    CheckpointFile& file = checkpoint_.files.emplace_back();
    file.path = kPath;
    file.is_safetensors = true;
    file.size_bytes = bytes.size();
    file.sha256 = Digest::Of(bytes);
    AppendStreams(0, bytes.size(), &layout, checkpoint_.streams);
  }

  const StringFile file_;
  Checkpoint checkpoint_;
};

inline DeltaEncoderInput Input(const std::vector<TestTensor>& target,
                               const std::vector<TestTensor>& parent) {
  DeltaEncoderInput input;
  input.target = std::make_shared<const MemorySource>(target);
  input.parent = std::make_shared<const MemorySource>(parent);
  input.parent_streams = MatchStreams(input.target->checkpoint(), input.parent->checkpoint());
  input.advance = [](uint64_t) { return absl::OkStatus(); };
  return input;
}

}  // namespace wdelta::testing
