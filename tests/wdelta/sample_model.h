// A small model in memory, its parent, and the `.wdelta` made of them.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "storage/base/file_system.h"
#include "storage/wdelta/wdelta_reader.h"
#include "storage/wdelta/wdelta_writer.h"

namespace wdelta {

class MemoryFile final : public RandomAccessFile {
 public:
  explicit MemoryFile(std::string bytes) : bytes_(std::move(bytes)) {}
  absl::Status Read(uint64_t offset, char* destination, size_t size) const override {
    if (offset > bytes_.size() || size > bytes_.size() - offset) {
      return absl::DataLossError("read past the end");
    }
    std::memcpy(destination, bytes_.data() + offset, size);
    return absl::OkStatus();
  }
  absl::StatusOr<uint64_t> SizeBytes() const override { return bytes_.size(); }

 private:
  std::string bytes_;
};

struct SampleModel {
  std::vector<CheckpointFile> files;
  std::vector<StreamInfo> streams;
  std::vector<std::string> contents;  // of each stream
};

inline constexpr uint64_t kSampleChunkBytes = 256;

// The same on every machine. The parent has the same streams, with other values,
// and its tensor `rows` is shorter than the child's.
SampleModel MakeSampleParent();
SampleModel MakeSampleChild();

// Feeds all streams to a writer; against the streams of `parent` when it is given.
absl::Status WriteStreams(WdeltaWriter& writer, const SampleModel& model,
                          const SampleModel* parent);

// The whole `.wdelta`.
std::string WriteWdelta(const SampleModel& model, const SampleModel* parent);

absl::StatusOr<std::shared_ptr<const WdeltaReader>> OpenBytes(std::string bytes);

// Contents of every stream, decoded.
absl::StatusOr<std::vector<std::string>> DecodeStreams(const WdeltaReader& reader,
                                                       const SampleModel* parent);

}  // namespace wdelta
