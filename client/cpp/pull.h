// Writes a model's files into a folder, each checked before it gets its name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"
#include "client/cpp/progress.h"

namespace wdelta {

enum class Verify {
  kSha256,    // of every whole file, and the checksum of every piece
  kChecksum,  // of every piece only
};

struct PullOptions {
  std::vector<std::string> paths;  // empty: all files
  Verify verify = Verify::kSha256;
  ProgressCallback progress;
};

struct PullResult {
  v1::Model model;
  uint64_t file_count = 0;
  uint64_t received_bytes = 0;
};

// Fetches one file after another into `folder`, which is created when absent;
// files that exist are replaced. Memory does not depend on the size of the model.
// A file in transfer is called `.<name>.wdelta-part`. After an error the files
// before it are whole and in place; nothing is resumed.
// Errors: the server's; NOT_FOUND (reason `FILE_NOT_FOUND`, no such path in the
// model); INVALID_ARGUMENT (reason `BAD_PATH`, a path that would leave `folder`);
// DATA_LOSS as in file_receiver.h; the disk's.
absl::StatusOr<PullResult> PullModel(Client& client, const std::string& model,
                                     const std::string& folder, const PullOptions& options = {});

// Writes the model's `.wdelta` file to `file_name` in the same way, always with
// its SHA-256 checked. FAILED_PRECONDITION unless the model is READY.
absl::StatusOr<PullResult> ExportDelta(Client& client, const std::string& model,
                                       const std::string& file_name,
                                       const ProgressCallback& progress = {});

}  // namespace wdelta
