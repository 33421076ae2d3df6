#include "client/cpp/local_checkpoint.h"

#include <memory>
#include <string>

#include "storage/base/error.h"
#include "storage/base/file_system.h"
#include "storage/base/status_macros.h"
#include "storage/tensor/checkpoint.h"
#include "storage/tensor/safetensors.h"

namespace wdelta {
namespace {

absl::Status CheckIndex(const LocalFile& file, const Checkpoint& checkpoint) {
  WDELTA_RETURN_IF_ERROR(CheckIndexSize(file.path, file.size_bytes));
  WDELTA_ASSIGN_OR_RETURN(const auto opened, OpenLocalFile(file.file_name));
  std::string json(file.size_bytes, '\0');
  WDELTA_RETURN_IF_ERROR(LocalFileError(opened->Read(0, json.data(), json.size())));
  return ValidateIndex(file.path, json, checkpoint);
}

}  // namespace

absl::Status CheckLocalCheckpoint(const std::vector<LocalFile>& files) {
  Checkpoint checkpoint;
  for (const LocalFile& file : files) {
    CheckpointFile& added = checkpoint.files.emplace_back();
    added.path = file.path;
    added.size_bytes = file.size_bytes;
    added.is_safetensors = IsSafetensorsPath(file.path);
    const auto index = static_cast<uint32_t>(checkpoint.files.size() - 1);
    if (!added.is_safetensors) {
      AppendStreams(index, file.size_bytes, nullptr, checkpoint.streams);
      continue;
    }
    WDELTA_ASSIGN_OR_RETURN(const auto opened, OpenLocalFile(file.file_name));
    const absl::StatusOr<SafetensorsLayout> layout = ReadSafetensorsLayout(*opened);
    if (!layout.ok()) return LocalFileError(Annotate(layout.status(), file.path));
    AppendStreams(index, file.size_bytes, &*layout, checkpoint.streams);
  }
  for (const LocalFile& file : files) {
    if (!IsIndexPath(file.path)) continue;
    WDELTA_RETURN_IF_ERROR(CheckIndex(file, checkpoint));
  }
  return absl::OkStatus();
}

}  // namespace wdelta
