#include "storage/engine/content/staged_source.h"

#include <utility>
#include <vector>

#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/engine/records/model_files.h"
#include "storage/tensor/safetensors.h"

namespace wdelta {
namespace {

class StagedSource final : public ContentSource {
 public:
  StagedSource(Checkpoint checkpoint, std::vector<std::shared_ptr<const RandomAccessFile>> files)
      : checkpoint_(std::move(checkpoint)), files_(std::move(files)) {}

  const Checkpoint& checkpoint() const override { return checkpoint_; }

  absl::Status Read(uint32_t stream, uint64_t offset, size_t size,
                    char* destination) const override {
    if (size == 0) return absl::OkStatus();
    const StreamInfo& info = checkpoint_.streams[stream];
    return Annotate(
        files_[info.file_index]->Read(info.tensor.offset_bytes + offset, destination, size),
        checkpoint_.files[info.file_index].path);
  }

  std::optional<Digest> StreamDigest(uint32_t) const override { return std::nullopt; }

 private:
  const Checkpoint checkpoint_;
  // By file index; null for empty files.
  const std::vector<std::shared_ptr<const RandomAccessFile>> files_;
};

}  // namespace

absl::StatusOr<ContentSourcePtr> OpenStagedSource(const store::v1::ModelRecord& model,
                                                  const StagedFileOpener& open) {
  Checkpoint checkpoint;
  WDELTA_ASSIGN_OR_RETURN(checkpoint.files, FilesOfRecord(model));
  std::vector<std::shared_ptr<const RandomAccessFile>> files(checkpoint.files.size());
  for (uint32_t i = 0; i < files.size(); ++i) {
    const CheckpointFile& file = checkpoint.files[i];
    if (file.size_bytes > 0) {
      WDELTA_ASSIGN_OR_RETURN(files[i], open(model.files(static_cast<int>(i)).staged_entry()));
    }
    if (!file.is_safetensors) {
      AppendStreams(i, file.size_bytes, nullptr, checkpoint.streams);
      continue;
    }
    absl::StatusOr<SafetensorsLayout> layout = ReadSafetensorsLayout(*files[i]);
    if (!layout.ok()) return Annotate(layout.status(), file.path);
    AppendStreams(i, file.size_bytes, &*layout, checkpoint.streams);
  }
  return std::make_shared<const StagedSource>(std::move(checkpoint), std::move(files));
}

}  // namespace wdelta
