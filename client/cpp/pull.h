// Writes a model's files into a folder, each checked before it gets its name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cpp/backoff.h"
#include "client/cpp/client.h"
#include "client/cpp/progress.h"

namespace wdelta {

enum class Verify {
  kSha256,    // of every whole file, and the checksum of every piece
  kChecksum,  // of every piece only
};

// A folder that holds the files of a model of the store, as served.
struct HeldFolder {
  std::string model;  // a reference
  std::string folder;
};

struct PullOptions {
  // Paths, or shell patterns of paths; empty: all files.
  std::vector<std::string> paths;
  Verify verify = Verify::kSha256;
  // A folder of an earlier pull: files of it that the model has unchanged are linked, not
  // fetched. Empty: none.
  std::string link_from;
  // What is there already: only the difference to one of them is fetched, unless files that are
  // missing are fewer bytes, see delta_pull.h.
  std::vector<HeldFolder> held;
  // Of `held`: no file is fetched; what is not there already is made from deltas, however few
  // bytes it has, and when that cannot be, it is an error.
  bool requires_delta = false;
  // Files in transfer at once, 1 or more; each takes a few threads and some MiB.
  uint32_t jobs = 4;
  // Broken connections in a row, without a byte received in between, that are survived;
  // the pause before the first retry (see backoff.h).
  int max_reconnects = kDefaultReconnects;
  absl::Duration initial_backoff = absl::Milliseconds(200);
  // How long to wait, all in all and without a byte received in between, for a server that
  // serves as many fetches as it can.
  absl::Duration max_busy_wait = absl::Minutes(10);
  ProgressCallback progress;
  StallCallback on_stall;
};

struct PullResult {
  v1::Model model;
  uint64_t file_count = 0;       // of all that are in place
  uint64_t unchanged_count = 0;  // that were there
  uint64_t linked_count = 0;     // to those of `link_from`
  uint64_t total_bytes = 0;      // of all that were asked for
  uint64_t received_bytes = 0;
  uint64_t applied_count = 0;  // made from what was held and deltas
  // Why what is held was of no use, or not for all files; OK: it was, or nothing was held or
  // needed.
  absl::Status held_refusal;
};

// Fetches the files, `jobs` of them at once, into `folder`, which is created when absent.
// Files that exist are kept if they have the model's SHA-256 and replaced otherwise. Memory does
// not depend on the size of the model. A file in transfer is called
// `.<name>.<begin of its SHA-256>.wdelta-part`; after any error but a loss of its own bytes,
// or when the process dies, it stays, and the next pull of the same content goes on with it
// and checks the SHA-256 of the whole. The first error ends all transfers; files that were
// whole before are in place. With several jobs `progress` is called on threads of the pull,
// one call at a time, and perhaps at the same time as `on_stall`.
// Before anything is transferred it is told if a folder stands where a file belongs
// (INVALID_ARGUMENT), or if the disk cannot hold what is missing (RESOURCE_EXHAUSTED,
// `DISK_FULL`).
// Errors: the server's; NOT_FOUND (reason `FILE_NOT_FOUND`, no such path in the
// model); INVALID_ARGUMENT (reason `BAD_PATH`, a path that would leave `folder`);
// ABORTED (`PART_IN_USE`, another pull writes the same file or uses the same deltas;
// `PART_CHANGED`); DATA_LOSS as
// in file_receiver.h; the disk's. With `requires_delta` those of delta_pull.h.
absl::StatusOr<PullResult> PullModel(Client& client, const std::string& model,
                                     const std::string& folder, const PullOptions& options = {});

// `status` is that of a transfer of `model`: says so if it failed because the model was deleted
// after it had begun. What is being sent is sent to its end; what is asked for later is not there.
absl::Status TellIfDeleted(const absl::Status& status, const v1::Model& model);

// Writes the model's `.wdelta` file to `file_name` in the same way, always with
// its SHA-256 checked. FAILED_PRECONDITION unless the model is READY.
absl::StatusOr<PullResult> ExportDelta(Client& client, const std::string& model,
                                       const std::string& file_name,
                                       const ProgressCallback& progress = {});

}  // namespace wdelta
