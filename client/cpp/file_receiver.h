// Receives one file as FetchFile and FetchDelta stream it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "client/cpp/part_file.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/sync_stream.h"
#include "storage/base/digest.h"
#include "wdelta/v1/fetch.grpc.pb.h"

namespace wdelta {

struct ExpectedFile {
  std::string path;  // for messages
  uint64_t size_bytes = 0;
  uint64_t offset = 0;  // where the stream begins; what is before it is there
  std::string sha256;   // lower-case hex; empty: only what the trailer says
};

// Receives on this thread, hashes on a second and writes on a third, with a few
// pieces in between. Everything is checked before it returns OK: place, size and
// crc32c of every piece, the trailer, and, where `hasher` is not null, the SHA-256 of the
// whole, `hasher` having seen what is before `expected.offset`. Errors: DATA_LOSS (reasons of
// piece_checks.h and `TRUNCATED_STREAM`), the server's, the disk's. Ends the call in any case; the
// caller commits `part`. `on_bytes` (may be empty) is given the size of each piece.
absl::Status ReceiveFile(grpc::ClientContext& context,
                         grpc::ClientReader<v1::FetchFileResponse>& reader,
                         const ExpectedFile& expected, Sha256Hasher* hasher, PartFile& part,
                         const std::function<void(uint64_t)>& on_bytes);

}  // namespace wdelta
