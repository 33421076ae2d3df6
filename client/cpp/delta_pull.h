// Pulls a model by what distinguishes it from models that are here already.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/cpp/client.h"
#include "client/cpp/pull.h"

namespace wdelta {

// Puts the files `needed`, one or more of the model in `result`, in place as PullModel does, but
// fetches `.wdelta` files from one of `options.held` to the model and applies them; the store says
// from which. A held reference stands for what PullModel would fetch by it; the model must be
// READY. Held folders are read only; sizes of all files are looked at before anything is fetched,
// and all of the one that is used is verified meanwhile. The deltas lie in a folder
// `.wdelta-delta-…`, one for each model, below `folder` until all is in place; after an error that
// a later pull may get over they stay, and it goes on with them. Damaged ones that an earlier
// stream left are fetched anew.
//
// Takes what it put in place out of `needed`, also when it ends with an error, and counts it in
// `result`. Unless options require deltas, it is OK without having done anything when `needed` is
// a part of the model only, no deltas have been kept, and the files are fewer bytes than the stored
// delta to a held model, or so few that no delta is worth it.
// Errors: as delta_download.h, held_folder.h (FAILED_PRECONDITION, `HELD_CHANGED`) and
// apply_delta.h; NOT_FOUND (no such held model); as PartFile; the disk's.
absl::Status PullByDelta(Client& client, std::vector<v1::File>& needed, const std::string& folder,
                         const PullOptions& options, PullResult& result);

// Removes what an earlier PullByDelta left below `folder`, unless one is at work; a failure harms
// nobody.
void ForgetDeltas(const std::string& folder, const std::string& model_id);

// Whether the files may be fetched instead after that error; who may fetch them need not be
// allowed the models on the way of a delta.
bool MayDoWithoutDelta(const absl::Status& status);

}  // namespace wdelta
