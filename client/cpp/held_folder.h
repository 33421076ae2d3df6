// A model that the caller has in a folder, as what a delta is applied to. The folder is only
// read.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/engine/content/content_source.h"
#include "wdelta/v1/models.pb.h"

namespace wdelta {

// Its files as `model` lists them, in the order of streams that the store has; other files do
// not matter. All are open from here on: files may be removed or replaced by renaming others
// over them, as a pull does, without harm; one that is written to in its place is not what was
// verified any more. Contents are not looked at, but for sizes and headers.
// Errors: FAILED_PRECONDITION (reason `HELD_CHANGED`: a file is missing, of another size or no
// safetensors; its name is in the message), INVALID_ARGUMENT (`BAD_PATH`), the disk's as
// LocalFileError, here and of the source.
absl::StatusOr<ContentSourcePtr> OpenHeldFolder(const v1::Model& model, const std::string& folder);

// Reads all of a source of OpenHeldFolder. FAILED_PRECONDITION (reason `HELD_CHANGED`) names
// the file whose SHA-256 is not that of the model. `check_alive` is called often; its error ends
// the work.
absl::Status VerifyHeldFolder(const ContentSource& source, const std::string& folder,
                              const std::function<absl::Status()>& check_alive);

}  // namespace wdelta
