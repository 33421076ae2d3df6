// One WriteEntries stream of an upload; part of push.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/cpp/client.h"
#include "client/cpp/interrupt.h"
#include "client/cpp/local_files.h"
#include "client/cpp/progress.h"
#include "storage/base/digest.h"

namespace wdelta {

// A file on its way. `hasher` has seen the first `hashed_bytes`, whichever stream
// they went over.
struct UploadFile {
  LocalFile local;
  uint64_t durable_bytes = 0;
  Sha256Hasher hasher;
  uint64_t hashed_bytes = 0;
};

// Sends, in order, what is not durable yet and returns OK when the server has made
// it so. All files are hashed to their end by then. `durable_bytes` is left as it
// is: ask the server after an error. `interrupt` may be null.
absl::Status SendRemaining(Client& client, const std::string& upload, uint64_t piece_bytes,
                           std::vector<UploadFile>& files, const ProgressCallback& callback,
                           Interrupt* interrupt);

}  // namespace wdelta
