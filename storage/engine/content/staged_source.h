// A model's bytes in the staging area.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "storage/base/file_system.h"
#include "storage/engine/content/content_source.h"
#include "store/v1/records.pb.h"

namespace wdelta {

// Opens a staged file by FileRecord::staged_entry.
using StagedFileOpener =
    std::function<absl::StatusOr<std::shared_ptr<const RandomAccessFile>>(uint32_t)>;

// Reads the headers of the shards. Files are opened at once and stay readable after
// the staging folder is removed. Errors: as ReadSafetensorsLayout, naming the file.
absl::StatusOr<ContentSourcePtr> OpenStagedSource(const store::v1::ModelRecord& model,
                                                  const StagedFileOpener& open);

}  // namespace wdelta
