#include "storage/engine/uploads/index_check.h"

#include <string>

#include "storage/base/status_macros.h"
#include "storage/tensor/checkpoint.h"

namespace wdelta {

absl::Status CheckIndexes(const ContentSource& source) {
  const Checkpoint& checkpoint = source.checkpoint();
  for (uint32_t i = 0; i < checkpoint.streams.size(); ++i) {
    const std::string& path = checkpoint.files[checkpoint.streams[i].file_index].path;
    if (!IsIndexPath(path)) continue;
    const uint64_t size = checkpoint.streams[i].tensor.size_bytes;
    WDELTA_RETURN_IF_ERROR(CheckIndexSize(path, size));
    std::string json(size, '\0');
    WDELTA_RETURN_IF_ERROR(source.Read(i, 0, size, json.data()));
    WDELTA_RETURN_IF_ERROR(ValidateIndex(path, json, checkpoint));
  }
  return absl::OkStatus();
}

}  // namespace wdelta
