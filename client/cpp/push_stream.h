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

// Bytes of a file that the server can copy from what it has.
struct KnownRange {
  uint64_t offset = 0;
  uint64_t size_bytes = 0;
  Digest sha256;
};

// A file on its way. `hasher` has seen the first `hashed_bytes`, whichever stream
// they went over.
struct UploadFile {
  LocalFile local;
  uint64_t durable_bytes = 0;
  Sha256Hasher hasher;
  uint64_t hashed_bytes = 0;
  std::vector<KnownRange> known;  // ascending
};

// What went over the streams of a push so far.
struct SentBytes {
  uint64_t sent = 0;
  uint64_t copied = 0;  // on the server, from what it had
};

// Sends, in order, what is not durable yet and returns OK when the server has made
// it so. All files are hashed to their end by then. `durable_bytes` is left as it
// is: ask the server after an error. `interrupt` may be null. NOT_FOUND
// (`CONTENT_NOT_FOUND`): a known range is not known any more.
absl::Status SendRemaining(Client& client, const std::string& upload, uint64_t piece_bytes,
                           std::vector<UploadFile>& files, const ProgressCallback& callback,
                           Interrupt* interrupt, SentBytes& bytes);

}  // namespace wdelta
