// Pulls a model by what distinguishes it from models that are here already.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/cpp/client.h"
#include "client/cpp/pull.h"

namespace wdelta {

// Puts `files`, of the model in `result`, in place as PullModel does, but fetches `.wdelta` files
// from one of `options.held` to the model and applies them; the store says from which. Held folders
// are read only; all of the one that is used is verified meanwhile. The deltas lie in a folder
// `.wdelta-delta-…`, one for each model, below `folder` until all is in place; after an error that
// a later pull may get over they stay, and it goes on with them. Sets the figures of `result`. OK
// without having done anything when fewer bytes are needed than any delta takes. Errors: as
// delta_download.h, held_folder.h (FAILED_PRECONDITION, `HELD_CHANGED`) and apply_delta.h;
// NOT_FOUND (no such held model); as PartFile; the disk's.
absl::Status PullByDelta(Client& client, const std::vector<v1::File>& files,
                         const std::string& folder, const PullOptions& options, PullResult& result);

// Removes what an earlier PullByDelta left below `folder`; a failure harms nobody.
void ForgetDeltas(const std::string& folder, const std::string& model_id);

// Whether the files may be fetched instead after that error.
bool MayDoWithoutDelta(const absl::Status& status);

}  // namespace wdelta
