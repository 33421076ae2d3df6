// Imports of version 1 `.wdelta` files: deltas of deltatensors over stored models.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/base/file_system.h"
#include "storage/engine/content/content_source.h"
#include "storage/engine/content/reader.h"
#include "store/v1/records.pb.h"

namespace wdelta {

// At the end of an upload: checks the whole file and fills in what it says of the
// model, but for files and digest, which only a job can know. INVALID_ARGUMENT
// (`PARENT_REQUIRED`) without a declared parent, as the file names none that the
// store could find; DATA_LOSS (`BAD_WDELTA`).
absl::Status FillFromV1(std::shared_ptr<const RandomAccessFile> file,
                        std::vector<StreamInfo>& streams, store::v1::ModelRecord& model);

// In a job: the model as a source, over that of `parents` whose hash the file names.
// Reads the parents once and the model once. `alive` is called often; its error
// ends the work. FAILED_PRECONDITION (`WRONG_PARENT`) with both hashes when no parent
// matches.
struct V1Parent {
  std::string name;
  ContentSourcePtr source;
};
absl::StatusOr<ContentSourcePtr> OpenV1Import(std::shared_ptr<const RandomAccessFile> file,
                                              const std::vector<V1Parent>& parents, Reader& reader,
                                              const std::function<absl::Status()>& alive);

}  // namespace wdelta
